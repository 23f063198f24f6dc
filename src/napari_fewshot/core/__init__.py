"""Values and rules that need nothing but numpy: pictures, strokes, tiles, cards, the shelf. Imports no sibling room."""
