"""Re-identification: which individual is it? Several encounters of each, of which one may not answer another frame.

    python examples/reidentification.py FOLDER [KEY=VALUE ...]

FOLDER has INDIVIDUAL/ENCOUNTER/image.jpg. Frames of one encounter stay on one side of every split, and are left out of
each other's answers, so that what is measured is whether an individual is known again another day. The individuals that
are tested are those that training has not seen.
"""

import sys

import conspecific as cs


def main(folder: str, *overrides: str) -> None:
    given = ["data=folder", f"data.root={folder}", "data.group_level=1", "exclude_group=true", "protocol=unseen"]
    run = cs.train([*given, *overrides])
    result = run.test[run.best]
    own = result.facts["own_group"]
    print(f"{result.facts['queries']} frames of individuals that were not trained on")
    print(f"known again from another encounter: {own['without']:.3f}; from any other frame: {own['with']:.3f}")
    for difference in cs.compare(result, run.test["pooled"]):
        if difference.metric in ("recall@1", "map@r"):
            low, high = difference.interval.low, difference.interval.high
            told = f"{difference.other:.3f} -> {difference.value:.3f} ({low:+.3f} to {high:+.3f})"
            print(f"{difference.metric}, before and after training: {told}")


if __name__ == "__main__":
    main(*sys.argv[1:])
