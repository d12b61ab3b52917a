"""The recipes by name, for --recipe."""

from __future__ import annotations

from livemos.training.recipe import Recipe
from livemos.training.recipes import first, fourth, third, wide

RECIPES: dict[str, Recipe] = {
    first.RECIPE.name: first.RECIPE,
    third.RECIPE.name: third.RECIPE,
    fourth.RECIPE.name: fourth.RECIPE,
    wide.RECIPE.name: wide.RECIPE,
}
