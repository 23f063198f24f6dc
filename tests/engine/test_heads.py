"""The closed-form head learns from learned and from hand-made features; applied coarse and interpolated, or the other way round."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_fewshot.engine.handmade import N_FEATURES, handmade
from napari_fewshot.engine.heads.classes import VOICES, ClassesHead
from napari_fewshot.engine.heads.image import ImageHead, enlarge
from napari_fewshot.engine.heads.regress import stack
from napari_fewshot.engine.look import features_at, spanning, whole


def test_separable_pixels_are_told_apart_in_both_forms_of_the_solution() -> None:
    torch.manual_seed(0)
    for n_per_class in (4, 200):  # fewer and more pixels than features
        y = torch.arange(3).repeat_interleave(n_per_class)
        x = F.one_hot(y, 20).float() * 5 + 0.1 * torch.randn(len(y), 20)
        head = ClassesHead(20)
        assert torch.equal(head.at(x, head.solve(x, y, 3)).argmax(1), y)


def test_dual_and_primal_solutions_agree() -> None:
    torch.manual_seed(0)
    head, x, y = ClassesHead(30), torch.randn(30, 30), torch.randint(0, 2, (30,))
    wide = head.solve(x[:29], y[:29], 2).weight  # 29 < 30 features: dual
    padded = torch.cat([x[:29], x[:29].mean(0, keepdim=True)])
    assert wide.shape == head.solve(padded, torch.cat([y[:29], y[:1]]), 2).weight.shape
    share = (F.one_hot(y[:29], 2).float() / (F.one_hot(y[:29], 2).sum(0) * 2)).sum(1, keepdim=True)
    centred = x[:29] - (share * x[:29]).sum(0)
    goal = F.one_hot(y[:29], 2).float()
    goal = goal - (share * goal).sum(0)
    ridge = head.log_ridge.exp() * (share * centred**2).sum()
    primal = torch.linalg.solve(centred.T @ (share * centred) + ridge * torch.eye(30), centred.T @ (share * goal))
    assert torch.allclose(wide, primal.T, atol=1e-4)


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    torch.manual_seed(0)
    x = torch.cat([torch.randn(500, 2) - 1, torch.randn(10, 2) + 1])
    y = torch.tensor([0] * 500 + [1] * 10)
    head = ClassesHead(2)
    found = head.at(x, head.solve(x, y, 2)).argmax(1)
    assert (found[y == 1] == 1).float().mean() >= 0.8


def test_scores_at_pixels_equal_interpolated_features_times_weights() -> None:
    torch.manual_seed(0)
    zone, box = (slice(0, 16), slice(8, 32)), (slice(4, 12), slice(10, 30))
    looks = [spanning([torch.randn(1, 4, 16, 24), torch.randn(1, 6, 8, 12), torch.randn(1, 2, 4, 6)], zone)]
    head = ClassesHead(12)
    solved = head.solve(torch.randn(40, 12), torch.arange(40) % 3, 3)
    yx = torch.tensor([[4, 10], [11, 29], [7, 11], [5, 20]])
    scores = head.scores(looks, box, solved)[0]
    direct = head.at(features_at(looks, yx), solved) * head.log_temperature.exp()
    assert scores.shape == (3, 8, 20)
    assert torch.allclose(scores[:, yx[:, 0] - 4, yx[:, 1] - 10].T, direct, atol=1e-4)


def test_scores_of_waves_are_those_at_pixels_where_a_picture_is_smooth_and_know_no_box() -> None:
    along = torch.linspace(0, 1, 64)
    x = torch.outer(torch.cos(3 * along), torch.sin(2 * along))[None, None]
    looks = [spanning(handmade(x), whole(x))]
    yx = torch.cartesian_prod(torch.arange(8, 56, 8), torch.arange(8, 56, 8))
    samples = torch.cat([torch.zeros(len(yx), 1), features_at(looks, yx)], 1)
    looks.insert(0, spanning([torch.zeros(1, 1, 64, 64)], whole(x)))
    head = ClassesHead(1)
    solved = head.solve(samples, (yx[:, 1] > 30).long(), 2)
    scores, part = (head.scores(looks, box, solved)[0] for box in (whole(x), (slice(8, 24), slice(16, 56))))
    direct = head.at(samples, solved) * head.log_temperature.exp()
    assert torch.allclose(scores[:, yx[:, 0], yx[:, 1]].T, direct, atol=0.1)
    assert torch.allclose(scores[:, 8:24, 16:56], part, atol=1e-4)


def test_waves_over_hand_made_features_tell_apart_what_no_line_does() -> None:
    torch.manual_seed(0)
    grey = torch.randn(400, 1)
    made = grey + 0.3 * torch.randn(400, N_FEATURES)
    y = (grey[:, 0].abs() > 0.7).long()  # one class on both sides of the other
    head = ClassesHead(3)
    x = torch.cat([torch.zeros(400, 3), made], 1)
    solved = head.solve(x[:300], y[:300], 2)
    assert (head.at(x[300:], solved).argmax(1) == y[300:]).float().mean() > 0.9
    assert torch.equal(head.over_made.directions, ClassesHead(5).over_made.directions)


def test_a_picture_that_looks_elsewhere_is_brought_back_and_one_that_does_not_is_left_alone() -> None:
    torch.manual_seed(0)
    kinds = torch.tensor([0, 1] * 300)
    x = torch.randn(600, 3 + N_FEATURES) * 0.3 + kinds[:, None]
    head = ClassesHead(3)
    solved = head.remembering(head.solve(x, kinds, 2), x)
    more_of_one = x[(kinds == 1) | (torch.arange(600) < 200)]
    assert head.aligned(solved, more_of_one) is solved
    assert head.aligned(solved, 3 + 0.3 * x) is solved  # hardly anything in it
    elsewhere = x + 2 * torch.rand(3 + N_FEATURES)
    lost, found = (
        (head.at(elsewhere, s).argmax(1) == kinds).float().mean() for s in (solved, head.aligned(solved, elsewhere))
    )
    assert lost < 0.8 and found > 0.95
    assert head.aligned(head.solve(x, kinds, 2), elsewhere).usual is None


def test_what_there_is_more_of_is_answered_sooner_and_what_is_rare_is_not_lost() -> None:
    torch.manual_seed(0)
    head, painted = ClassesHead(2), torch.arange(400) % 2
    solved = head.solve(torch.randn(400, 2) + 1.5 * painted[:, None], painted, 2)
    shown = (torch.arange(4000) % 20 == 0).long()  # one in twenty, though as much of it was painted
    x = torch.randn(4000, 2) + 1.5 * shown[:, None]
    inclined = head.expecting(solved, x)
    before, after = ((head.at(x, s).argmax(1) == 1) for s in (solved, inclined))
    alarms, recall = ([float(f[shown == k].float().mean()) for f in (before, after)] for k in (0, 1))
    assert alarms[1] < 0.7 * alarms[0] and recall[1] > 0.5
    assert torch.equal(head.expecting(inclined, x).prior, inclined.prior)  # asked again, it does not lean further
    calibrated = inclined.times(0.5)
    assert torch.equal(head.at(x, calibrated).argmax(1), head.at(x, inclined).argmax(1))


def test_a_head_keeps_what_it_learned_and_what_painted_pictures_look_like() -> None:
    x, y = torch.randn(50, 20 + N_FEATURES), torch.arange(50) % 2
    head, again = ClassesHead(20, 2), ClassesHead(20, 2)
    head.fill(head.remembering(head.expecting(head.solve(x, y, 2, around=head.survey(x)), x[:20] + 1), x))
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.solved.prior, head.prior) and head.prior.any() and head.axes.any()
    assert again.solved.usual is not None and torch.equal(again.solved.usual.scores, head.usual_scores)
    assert torch.equal(again.at(x, again.aligned(again.solved, x + 9)), head.at(x, head.aligned(head.solved, x + 9)))


def test_an_untrained_image_head_returns_its_input_enlarged() -> None:
    x = torch.rand(1, 1, 8, 8)
    looks = [spanning([torch.rand(1, 4, 8, 8)], whole(x)), spanning([torch.rand(1, 4, 2, 2)], whole(x))]
    assert torch.equal(ImageHead(4, n_zooms=2, factor=2)(looks, x, whole(x)), enlarge(x, 2))
    box = slice(2, 5), slice(3, 8)
    assert torch.allclose(ImageHead(4, 2, 2)(looks, x, box), enlarge(x, 2)[..., 4:10, 6:16], atol=1e-5)


def test_enlarging_keeps_the_areas_of_pixels_in_place() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    fine = enlarge(ramp, 4)[0, 0, 0]
    assert torch.allclose(fine.view(32, 4).mean(1)[4:-4], ramp[0, 0, 0, 4:-4], atol=1e-4)


def test_a_head_that_was_fitted_on_learned_features_alone_looks_at_no_others() -> None:
    torch.manual_seed(0)
    picture, head = torch.rand(1, 1, 32, 32), ClassesHead(4)
    looks = [spanning([torch.randn(1, 4, 32, 32)], whole(picture)), spanning(handmade(picture), whole(picture))]
    solved = head.solve(torch.randn(40, 4), torch.arange(40) % 2, 2)
    assert torch.equal(head.scores(looks, whole(picture), solved), head.scores(looks[:1], whole(picture), solved))


def told_by_made(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels whose learned features say nothing and whose hand-made ones say all, (N, 20 + H), and their classes."""
    y = torch.arange(n) % 2
    made = 0.3 * torch.randn(n, N_FEATURES) + (2.0 * y[:, None] - 1)
    return torch.cat([torch.randn(n, 20), made], 1), y


def test_the_voice_that_is_right_on_strokes_held_out_counts_more_the_more_is_painted() -> None:
    torch.manual_seed(0)
    head, (x, y) = ClassesHead(20), told_by_made(200)
    fold = torch.arange(200) // 2 % 4
    few, many = (head.weigh(x, y, fold, 2, strength, head.survey(x)) for strength in (2.0, 0.05))
    assert VOICES[1] < few[1] < many[1] and many[1] > 0.8
    for voices in (few, many):
        assert abs(sum(voices) - 1) < 1e-5 and min(voices) >= 0


def test_voices_count_as_usual_where_no_stroke_can_be_held_out() -> None:
    torch.manual_seed(0)
    head, (x, y) = ClassesHead(20), told_by_made(40)
    assert head.weigh(x, y, y, 2, 1.0, head.survey(x)) == VOICES  # each class has one stroke


def test_voices_that_say_the_same_count_as_before() -> None:
    target = F.one_hot(torch.arange(40) % 2, 2).float()
    found = stack(target.expand(3, -1, -1), target, torch.full((40, 1), 1 / 40), VOICES, 0.01)
    assert torch.allclose(torch.tensor(found), torch.tensor(VOICES), atol=0.01)
