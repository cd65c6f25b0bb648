"""Matrix products, and how they round: "float32" is meant, "bfloat16" rounds what it multiplies.

"bfloat16" rounds both operands of every product, those of its gradient too, and sums in float32.
"float32" does not become TF32 on a GPU. In float64 both are exact in the way of their type.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Axes = tuple[int, ...]


def contract(
    a: jax.Array, b: jax.Array, axes: tuple[Axes, Axes], products: str, batch: Axes = ()
) -> jax.Array:
    """Sum a times b over axes = (axes of a, axes of b); the axes `batch` they have in common.

    The result has the type of a; `batch` comes first in it, then what is left of a, and of b.
    """
    numbers = (axes, (batch, batch))

    def exact(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.dot_general(a, b, numbers, precision=lax.Precision.HIGHEST)

    def rounded(a: jax.Array, b: jax.Array) -> jax.Array:
        low = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return lax.dot_general(*low, numbers, preferred_element_type=jnp.float32)

    def rounded_first(a: jax.Array, b: jax.Array) -> jax.Array:
        return exact(*(lax.reduce_precision(x.astype(jnp.float32), 8, 7) for x in (a, b)))

    if products != "bfloat16":
        return exact(a, b)
    if axes[0][0] == 0:
        # XLA's CPU backend has no bfloat16 product over leading axes in some loops (0.10: "DotThunk
        # BF16 x BF16 = F32"). The same numbers without it:
        return lax.platform_dependent(a, b, cpu=rounded_first, default=rounded)
    return rounded(a, b)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dot(x: jax.Array, w: jax.Array, products: str) -> jax.Array:
    """x (..., N) times w (N, ...); the products of the gradient are rounded in the same way."""
    return contract(x, w, ((x.ndim - 1,), (0,)), products)


def _dot_forward(x: jax.Array, w: jax.Array, products: str):
    return dot(x, w, products), (x, w)


def _dot_backward(products: str, operands, g: jax.Array):
    x, w = operands
    leading, trailing = tuple(range(x.ndim - 1)), tuple(range(x.ndim - 1, g.ndim))
    dx = contract(g, w, (trailing, tuple(range(1, w.ndim))), products)
    dw = contract(x, g, (leading, leading), products)
    return dx.astype(x.dtype), dw.astype(w.dtype)


dot.defvjp(_dot_forward, _dot_backward)
