"""conspecific review: a page of doubtful images, whose answers become corrections."""

from conspecific.cli.serve import require_extra
from conspecific.config.schema import ReviewConfig
from conspecific.tables import PlainConsole


def run(config: ReviewConfig) -> None:
    """Find what is worth a look, and take answers until Ctrl-C."""
    require_extra("review")
    from conspecific.serving.review.app import create_review
    from conspecific.serving.review.open import open_review
    from conspecific.serving.server import address_of, listen, run_until_interrupted

    console = PlainConsole()
    with listen(config.host, config.port) as listening:  # a port that is taken is told before the work
        review = open_review(config, console)
        if not review.session.questions:
            return
        console.print(f"Review page: {address_of(listening, config.host)} (Ctrl-C ends it)", soft_wrap=True)
        run_until_interrupted(create_review(review, (config.host, *config.names)), listening)
        console.print(f"Corrections: {review.session.file}", highlight=False, soft_wrap=True)
