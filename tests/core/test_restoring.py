"""What was found while planes were restored is told with what matters first, and of many planes in one sentence."""

from dataclasses import replace

from napari_fewshot.core.restoring import Report, summary

NOISE = (
    "shot noise of 45.3 grey levels (18% of the contrast), correlated along the scan line (32% of the previous pixel)"
)
CLEAN = Report(NOISE, 45.3, 0.18, structure=0.004, residual_sigmas=0.89, within=0.7)
CUT = replace(CLEAN, structure=0.05, noise_share=0.2, within=0.6)


def test_what_to_do_is_told_before_what_the_noise_is():
    assert CUT.spoken() == f"structure (5%) taken away with 0.89 of the noise: try less strength; {NOISE}"
    assert CLEAN.spoken() == f"taken away: 0.89 of the noise, no structure; {NOISE}"


def test_a_finer_image_is_told_to_agree_with_its_input():
    told = replace(CLEAN, within=0.987, factor=2).spoken()
    assert "99% of its pixel areas within one standard deviation of the input" in told
    assert "pixel areas" not in CLEAN.spoken()


def test_of_one_plane_all_is_told():
    assert summary([("'sem'", CUT)]) == CUT.spoken()


def test_of_many_planes_the_worst_is_named_and_the_noise_is_that_of_the_median():
    planes = [("'a'", CLEAN), ("plane (4,) of 'b'", CUT), ("'c'", replace(CUT, structure=0.02))]
    assert summary(planes) == (
        "structure taken away in 2 of 3 planes, most (5%) in plane (4,) of 'b': try less strength; "
        "in the median the noise is 20% of the contrast, 0.89 of it taken away"
    )
    assert summary([("'a'", CLEAN)] * 2).startswith("no structure taken away in 2 planes; ")


def test_of_many_finer_planes_the_worst_agreement_is_told():
    planes = [(name, replace(CLEAN, factor=2, within=within)) for name, within in (("'a'", 0.99), ("'b'", 0.971))]
    assert "at least 97% of pixel areas within one standard deviation of the input" in summary(planes)
