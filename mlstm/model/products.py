"""Matrix products, and how they round: "float32" is meant, "bfloat16" rounds what it multiplies.

"bfloat16" rounds both operands of every product, those of its gradient too, and sums in float32.
"float32" does not become TF32 on a GPU; float64 stays what it is.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Axes = tuple[int, ...]


def contract(a: jax.Array, b: jax.Array, axes: tuple[Axes, Axes], products: str) -> jax.Array:
    """Sum a times b over axes = (axes of a, axes of b): in their type, or rounded in float32."""
    none = ((), ())

    def exact(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.dot_general(a, b, (axes, none), precision=lax.Precision.HIGHEST)

    def rounded(a: jax.Array, b: jax.Array, axes_of_a: Axes = axes[0]) -> jax.Array:
        low = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        numbers = ((axes_of_a, axes[1]), none)
        return lax.dot_general(*low, numbers, preferred_element_type=jnp.float32)

    def rounded_in_order(a: jax.Array, b: jax.Array) -> jax.Array:
        # XLA's CPU backend has no bfloat16 product over leading axes in some loops (0.10: "DotThunk
        # BF16 x BF16 = F32"), but one over trailing axes.
        last = tuple(range(a.ndim - len(axes[0]), a.ndim))
        a = lax.optimization_barrier(jnp.moveaxis(a.astype(jnp.bfloat16), axes[0], last))
        return rounded(a, b, last)

    if products != "bfloat16":
        return exact(a, b)
    if axes[0][0] == 0:
        return lax.platform_dependent(a, b, cpu=rounded_in_order, default=rounded)
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
    dw = _summed(x, g, leading, products)
    return dx.astype(x.dtype), dw.astype(w.dtype)


def _summed(x: jax.Array, g: jax.Array, leading: Axes, products: str) -> jax.Array:
    """x times g over their leading axes."""

    def flat(x: jax.Array, g: jax.Array) -> jax.Array:
        # Over one axis XLA's CPU backend reads x as it lies; over several it lays out a copy.
        x, g = (a.reshape(-1, *a.shape[len(leading) :]) for a in (x, g))
        return contract(x, g, ((0,), (0,)), products)

    def as_given(x: jax.Array, g: jax.Array) -> jax.Array:  # on a mesh, streams stay apart
        return contract(x, g, (leading, leading), products)

    return lax.platform_dependent(x, g, cpu=flat, default=as_given)


dot.defvjp(_dot_forward, _dot_backward)
