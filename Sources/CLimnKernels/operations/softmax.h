// The softmax of a tile of positions, with a running maximum.
#pragma once
#include "simd.h"

enum { LIMN_SOFTEN_VECTORS = LIMN_ATTENTION_TILE / 16 };

/// Replaces a row's scores by softmax weights relative to the running maximum `m`; positions outside low...high,
/// counted in the tile, are not seen. Updates the running sum `l`, and returns the factor by which everything summed so
/// far must be multiplied.
typedef float limn_soften(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l);

LIMN_INLINE float limn_soften_scalar(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l) {
  float largest = *m, sum = 0;
  for (ptrdiff_t i = 0; i < LIMN_ATTENTION_TILE; i++) {
    s[i] = i >= low && i <= high ? s[i] * scale : -INFINITY;
    if (s[i] > largest) largest = s[i];
  }
  for (ptrdiff_t i = 0; i < LIMN_ATTENTION_TILE; i++) sum += s[i] = expf(s[i] - largest);
  const float factor = expf(*m - largest);
  *l = *l * factor + sum;
  *m = largest;
  return factor;
}
LIMN_INLINE float limn_soften_vectors(float *s, float scale, ptrdiff_t low, ptrdiff_t high, float *m, float *l) {
  const v16i lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v16f score[LIMN_SOFTEN_VECTORS], largest = v_splat(*m), sum = v_splat(0);
  LIMN_UNROLL (int i = 0; i < LIMN_SOFTEN_VECTORS; i++) score[i] = v_load(s + 16 * i) * scale;
  if (low > 0 || high < LIMN_ATTENTION_TILE - 1)
    LIMN_UNROLL (int i = 0; i < LIMN_SOFTEN_VECTORS; i++) {
      const v16i at = lanes + 16 * i;
      score[i] = v_select((at >= (int)low) & (at <= (int)high), score[i], v_splat(-INFINITY));
    }
  LIMN_UNROLL (int i = 0; i < LIMN_SOFTEN_VECTORS; i++) largest = v_max(largest, score[i]);
  const float most = v_largest(largest);
  LIMN_UNROLL (int i = 0; i < LIMN_SOFTEN_VECTORS; i++) {
    const v16f p = v_exp_below(score[i] - most);
    v_store(s + 16 * i, p);
    sum += p;
  }
  const float factor = *m == most ? 1 : v_exp_below(v_splat(*m - most))[0];
  *l = *l * factor + v_sum(sum);
  *m = most;
  return factor;
}
