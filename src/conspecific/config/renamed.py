"""Keys and options that had another name, or that other tools call by another name."""

RENAMED = {
    "validate": "dry_run",
    "part": "subset",
    "recipe.tuned_shares": "recipe.wise_ft_alphas",
    "recipe.rewhiten": "recipe.refit_whitening",
    "recipe.cached_views": "recipe.cached_augmentations",
    "recipe.start_size": "recipe.initial_size",
    "loader.batch_species": "loader.classes_per_batch",
    "loader.batch_pictures": "loader.samples_per_class",
    "model.search_with": "model.embedding_layer",
    "data.pictures": "data.images",
    "split.gallery_pictures": "split.gallery_images",
    "split.query_pictures": "split.query_images",
    "picture": "images",
    "image": "images",
}
ELSEWHERE = {
    "epochs": "trainer.max_epochs",
    "lr": "optimizer.backbone_lr",
    "learning_rate": "optimizer.backbone_lr",
    "optimizer.lr": "optimizer.backbone_lr",
    "batch_size": "loader.classes_per_batch times loader.samples_per_class",
    "loader.batch_size": "loader.classes_per_batch times loader.samples_per_class",
    "num_workers": "loader.workers",
    "loader.num_workers": "loader.workers",
    "loss.margin": "loss.loss.margin",
    "loss.scale": "loss.loss.scale",
}
OPTIONS = {("data", "pictures"): "images"}


def renamed_key(key: str) -> str | None:
    """Say what a key is called now, or in this program; None for a key that never had another name.

    >>> renamed_key("recipe.tuned_shares"), renamed_key("lr")
    ('recipe.tuned_shares is now recipe.wise_ft_alphas', 'lr is optimizer.backbone_lr here')
    """
    if key in RENAMED:
        return f"{key} is now {RENAMED[key]}"
    return f"{key} is {ELSEWHERE[key]} here" if key in ELSEWHERE else None


def renamed_option(group: str, option: str) -> str | None:
    """Say what an option of a group is called now; None for one that never had another name."""
    new = OPTIONS.get((group, option))
    return new and f"{group}={option} is now {group}={new}"
