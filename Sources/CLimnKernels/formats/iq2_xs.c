// IQ2_XS: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–1   d, float16
//   bytes   2–65  2 bytes a run of 8: the point in the low 9 bits, signs in the high 7
//   bytes  66–73  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"

typedef struct {
  uint8_t d[2];
  uint8_t runs[32][2];
  uint8_t scales[8];
} block;
_Static_assert(sizeof(block) == LIMN_IQ2_XS_BYTES, "IQ2_XS block");

enum { GROUP = 16, OFFSET = 43 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)) * 0.125f; }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (b->scales[group / 2] >> group % 2 * 4 & 15) + 1; }
LIMN_INLINE iq_run run_of(const block *b, int i) {
  const uint16_t run = load_u16(b->runs[i]);
  return (iq_run){limn_grid_iq2_xs[run & 511], run >> 9};
}
LIMN_INLINE int value_of(iq_run run, int i) {
  return iq_signed(iq2_magnitude(run.code, i), run.signs | eighth_sign(run.signs), i);
}
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) {
  return v_signed(v_iq2_magnitudes(codes), signs | v_eighth_sign(signs), OFFSET);
}

#include "iq_recipe.h"

int limn_recipe_iq2_xs(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
