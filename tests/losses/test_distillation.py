"""Learning from a teacher which images are alike."""

import math

import pytest
import torch
from torch import Tensor

from conspecific.losses import similarity_distillation


def embeddings(length: int, seed: int, count: int = 7) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_divergence_of_the_rows() -> None:
    student, teacher, temperature = embeddings(5, 0), embeddings(9, 1), 0.2
    total = 0.0
    for row in range(7):
        others = [other for other in range(7) if other != row]
        rows = []
        for found in (teacher, student):
            weights = [math.exp(torch.cosine_similarity(found[row], found[x], dim=0) / temperature) for x in others]
            rows.append([weight / sum(weights) for weight in weights])
        total += sum(p * math.log(p / q) for p, q in zip(*rows, strict=True)) / 7
    assert similarity_distillation(student, teacher, temperature).item() == pytest.approx(total, rel=1e-4)


def test_a_rotated_and_scaled_teacher_is_the_teacher() -> None:
    teacher = embeddings(6, 0)
    rotation = torch.linalg.qr(embeddings(6, 1, count=6)).Q
    assert similarity_distillation(3 * teacher @ rotation, teacher).item() == pytest.approx(0, abs=1e-5)
    assert similarity_distillation(embeddings(6, 2), teacher) > 0.1


def test_the_gradient_teaches_a_student_of_other_length() -> None:
    teacher = embeddings(12, 0)
    student = embeddings(4, 1).requires_grad_()
    before = similarity_distillation(student, teacher).item()
    for _ in range(50):
        [gradient] = torch.autograd.grad(similarity_distillation(student, teacher), student)
        student = (student - 0.5 * gradient).detach().requires_grad_()
    assert similarity_distillation(student, teacher).item() < 0.3 * before


def test_the_teacher_is_not_taught() -> None:
    teacher = embeddings(5, 0).requires_grad_()
    similarity_distillation(embeddings(5, 1).requires_grad_(), teacher).backward()
    assert teacher.grad is None


def test_autocast_does_not_reach_it() -> None:
    student, teacher = embeddings(5, 0).bfloat16(), embeddings(9, 1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = similarity_distillation(student, teacher)
    assert torch.equal(found, similarity_distillation(student.float(), teacher.float()))


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_differ_are_no_error(count: int) -> None:
    assert similarity_distillation(embeddings(5, 0, count), embeddings(9, 1, count)) == 0
