"""Fine-tune on photographs sorted by species, put all of them into an index, and find what new photographs show.

    python examples/train_and_search.py FOLDER IMAGE [IMAGE ...] [KEY=VALUE ...]

FOLDER has one folder for each species. KEY=VALUE are those of `conspecific train`, such as trainer.max_epochs=5.
"""

import sys
from pathlib import Path

import conspecific as cs


def main(folder: str, *words: str) -> None:
    overrides = [word for word in words if "=" in word]
    queries = [word for word in words if "=" not in word]
    run = cs.train(["data=folder", f"data.root={folder}", *overrides])
    model = cs.load(run.path)

    images = [path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    species = [path.parent.name for path in images]
    index = cs.Index.build(model.embed(images), [str(path) for path in images], species)
    index.save(run.path / "gallery")  # cs.Index.open reads it again

    found = index.search(model.embed(queries), k=5)
    for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
        print(query)
        for place, score in zip(index.rows(ids), scores, strict=True):
            print(f"  {score:.3f}  {index.images['label'][int(place)]}  {index.images['path'][int(place)]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
