"""Better answers without training: how the nearest images of a plain search are refined. Standard library only."""

from dataclasses import dataclass

from conspecific.config.choices import NO_REFINING
from conspecific.errors import ConfigError


@dataclass
class RefineConfig:
    """How answers are refined; the defaults of each method are those of its publication.

    Flip, whitening and wiener come before the method, and can be had without one.

    method: none, query_expansion (Radenovic et al. 2018), database_augmentation (Gordo et al. 2017) or k_reciprocal
    (Zhong et al. 2017). alpha: exponent of the cosine similarity that weights an image in an expanded query.
    expanded_by: number of images that expand a query. augmented_by: number of neighbours that augment an image of the
    gallery. k1, k2: neighbours that must be mutual, and those whose encodings are averaged. distance_weight: of the
    plain distance against the Jaccard distance, 0 to 1.
    flip: average the embeddings of each image and of its mirror image. whitening: PCA whitening by the gallery (Jégou
    and Chum 2012). wiener: keep what differs between species, by the gallery and by how embeddings of training images
    vary within species, in place of whitening.
    """

    method: str = NO_REFINING
    alpha: float = 3.0
    expanded_by: int = 50
    augmented_by: int = 20
    k1: int = 20
    k2: int = 6
    distance_weight: float = 0.3
    flip: bool = False
    whitening: bool = False
    wiener: bool = False

    def __post_init__(self) -> None:
        for name in ("expanded_by", "augmented_by", "k1", "k2"):
            if getattr(self, name) < 1:
                raise ConfigError(f"refine.{name} must be 1 or more; found {getattr(self, name)}")
        if not self.alpha >= 0:
            raise ConfigError(f"refine.alpha must be 0 or more; found {self.alpha}")
        if not 0 <= self.distance_weight <= 1:
            raise ConfigError(f"refine.distance_weight must be from 0 to 1; found {self.distance_weight}")
        if self.whitening and self.wiener:
            raise ConfigError("refine.whitening and refine.wiener each give the axes of the gallery: choose one")

    def require_unflipped(self) -> None:
        """Raise ConfigError for flip where a gallery has no embeddings of its mirrored images."""
        if self.flip:
            raise ConfigError(
                "refine.flip needs a gallery that was averaged with mirrored images, and this index was made without: "
                "leave it out, or make the index again with flip=true"
            )

    @property
    def name(self) -> str:
        """What is asked for, as part of a name; empty where answers are those of the plain search."""
        method = "" if self.method == NO_REFINING else self.method
        before = [name for name in ("flip", "whitening", "wiener") if getattr(self, name)]
        return "_".join(filter(None, (*before, method)))
