// Prefill of Q4_0, Q4_1, Q5_0 and Q5_1: the float scales of a row's groups of 32 columns become integers, which makes
// panels of the K formats. AVX2's products widen sums by multiplying them by such a scale.
//
//   d[g] ≈ d · s[g],  |s[g]| ≤ 4095 or 2047;      −m[g] ≈ dmin · min[g],  |min[g]| ≤ 32767
//
// A float16 has 11 significant bits, so little is lost.
#include "kernels.h"
#include "simd.h"

/// The largest scale for which |Σ_g s[g] · Σ q · x| < 2³¹ over a block, and offset · s[g] fits 16 bits.
static int most_scale(int largest_q) { return (1 << 16) / (largest_q + 1) - 1; }

enum { MOST_MINIMUM = 32767, GROUPS = LIMN_BLOCK / 32 };

// MARK: The scalar reference

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  // The numbers q lie in the same place in both kinds of panels. The floats after them are read before they are
  // overwritten.
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, panel);
  limn_panel_k *w = panel;
  float d[GROUPS][LIMN_PANEL_ROWS] = {0}, m[GROUPS][LIMN_PANEL_ROWS] = {0};
  const size_t bytes = (size_t)(columns / 32) * sizeof d[0];
  memcpy(d, ((const limn_panel_32 *)panel)->d, bytes);
  if (recipe->has_minimum) memcpy(m, ((const limn_panel_32_min *)panel)->m, bytes);
  const int offset = recipe->has_minimum ? 0 : ((const limn_panel_32 *)panel)->offset;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    float own[GROUPS], least[GROUPS];
    int16_t scale[GROUPS], min[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
      own[g] = d[g][r];
      least[g] = -m[g][r];
    }
    w->d[r] = limn_round_to_16(own, GROUPS, most_scale(recipe->largest_q), scale, 2);
    w->dmin[r] = recipe->has_minimum ? limn_round_to_16(least, GROUPS, MOST_MINIMUM, min, 2) : w->d[r];
    for (int g = 0; g < GROUPS; g++) {
      w->scale[g][r] = scale[g];
      w->min[g / 2][r][g % 2] = (int16_t)(recipe->has_minimum ? min[g] : offset * scale[g]);
    }
  }
}

#if defined(__x86_64__)
// MARK: Vectors: a lane is a row

/// limn_round_to_16 for each lane.
LIMN_INLINE v16f round_vectors(const v16f x[GROUPS], int most, v16i q[GROUPS]) {
  v16i magnitudes = {0};
  LIMN_UNROLL (int g = 0; g < GROUPS; g++) magnitudes = __builtin_elementwise_max(magnitudes, v_magnitude(x[g]));
  const v16f largest = (v16f)magnitudes;
  const v16i any = v_is_scalable(largest);
  const v16f inverse = v_splat((float)most) / largest;
  LIMN_UNROLL (int g = 0; g < GROUPS; g++)
    q[g] = __builtin_convertvector(v_select(any, __builtin_elementwise_roundeven(x[g] * inverse), v_splat(0)), v16i);
  return v_select(any, largest / (float)most, largest * 0);
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, panel);
  limn_panel_k *w = panel;
  const limn_panel_32 *from = panel;
  const limn_panel_32_min *from_min = panel;
  v16f d[GROUPS], m[GROUPS];
  LIMN_UNROLL (int g = 0; g < GROUPS; g++) {
    const int is_there = g < columns / 32;
    d[g] = is_there ? v_load(from->d[g]) : v_splat(0);
    m[g] = is_there && recipe->has_minimum ? -v_load(from_min->m[g]) : v_splat(0);
  }
  const int offset = recipe->has_minimum ? 0 : from->offset;
  v16i scale[GROUPS], min[GROUPS];
  const v16f own = round_vectors(d, most_scale(recipe->largest_q), scale);
  v_store(w->d, own);
  if (recipe->has_minimum) {
    v_store(w->dmin, round_vectors(m, MOST_MINIMUM, min));
  } else {
    v_store(w->dmin, own);
    LIMN_UNROLL (int g = 0; g < GROUPS; g++) min[g] = scale[g] * offset;
  }
  LIMN_UNROLL (int g = 0; g < GROUPS; g++) v_store_bytes(w->scale[g], scale[g]);
  LIMN_UNROLL (int g = 0; g < GROUPS; g += 2) v_store_bytes(w->min[g / 2], (min[g] & 0xffff) | min[g + 1] << 16);
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))
#endif

// MARK: The recipe

int limn_products_of_32(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic, int largest_q, int has_minimum) {
  if (arithmetic == LIMN_INT8) return 1;
  if (arithmetic != LIMN_INT8_32 || !limn_products_int8_k_32(recipe, isa, 32, largest_q)) return 0;
  recipe->unpack_own = recipe->unpack;
  recipe->largest_q = largest_q;
  recipe->has_minimum = has_minimum;
  recipe->unpack = unpack_scalar;
#if defined(__x86_64__)
  recipe->unpack = LIMN_PICK(isa, unpack);
#endif
  return 1;
}
