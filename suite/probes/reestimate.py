"""Batch norm's statistics as training leaves them, and re-estimated (rebuttal of Helwegen et al., line 8)."""

from suite.probes.probe import STATISTICS, Found, Trained, probe, scored_images

NUMBERS = [
    f"{part}_{score}.{statistics}"
    for part in ("val", "test")
    for score in ("loss", "top1")
    for statistics in STATISTICS
]


@probe(images=lambda sizes: sizes.train + 2 * scored_images(sizes), numbers=NUMBERS)
def reestimate(trained: Trained) -> Found:
    """Loss and top-1 with batch norm's statistics as they are, and re-estimated over one epoch.

    kept: as the scores of the run were taken. reestimated: plain averages over the training batches of one
    more epoch; all weights stay fixed. Keys: val_loss.kept, test_top1.reestimated and so on.
    """
    network, found = trained.network(), Found()
    for statistics in STATISTICS:
        if statistics == "reestimated":
            trained.reestimate(network)
        for part, images in (("val", trained.data.val), ("test", trained.data.test)):
            scored = trained.score(network, images)
            found |= {f"{part}_loss.{statistics}": scored.loss, f"{part}_top1.{statistics}": scored.top1}
    return found
