"""Distillation of similarities: a student learns from a teacher which images are similar."""

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_distillation(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the divergence of the similarities of a student from those of a teacher, a scalar of 0 or more.

    student: [B, D], teacher: [B, E] of the same images; D and E may differ, and only the student gets gradients.
    Each image's cosine similarities to the B - 1 others become a distribution by a softmax at `temperature`; the loss
    is the mean over images of KL(teacher || student). It is 0 for the embeddings of the teacher itself, also
    rotated or scaled. On several ranks, each rank compares the images of its own batch.

    Sources: relations between images as the target: Park et al. 2019 (Relational Knowledge Distillation, arXiv
    1904.05068) and Tung and Mori 2019 (arXiv 1907.09682); softmax over similarities and divergence: CompRess (Abbasi
    Koohpayegani et al. 2020, arXiv 2010.14713).

    >>> teacher = torch.eye(3)
    >>> float(similarity_distillation(teacher[:, [2, 0, 1]], teacher))
    0.0
    """
    with torch.autocast(student.device.type, enabled=False):
        wanted = F.log_softmax(_similarities(teacher.detach()) / temperature, dim=1)
        found = F.log_softmax(_similarities(student) / temperature, dim=1)
        return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _similarities(embeddings: Tensor) -> Tensor:
    """Return the cosine similarities of each image to the others, [B, B - 1]."""
    count = len(embeddings)
    if embeddings.dtype in (torch.float16, torch.bfloat16):
        embeddings = embeddings.float()
    normalised = F.normalize(embeddings)
    others = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
    return (normalised @ normalised.T)[others].view(count, count - 1)
