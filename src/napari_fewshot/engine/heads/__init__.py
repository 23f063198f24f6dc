"""What turns a backbone's features into an answer: classes (closed form) or an image."""
