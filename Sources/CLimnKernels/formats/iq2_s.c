// IQ2_S: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–1   d, float16
//   bytes   2–33  low 8 bits of the points, a byte a run of 8
//   bytes  34–65  signs, a byte a run
//   bytes  66–73  high 2 bits of the points: byte i, from its lowest bits: runs 4i to 4i + 3
//   bytes  74–81  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[32];
  uint8_t signs[32];
  uint8_t high[8];
  uint8_t scales[8];
} block;
_Static_assert(sizeof(block) == LIMN_IQ2_S_BYTES, "IQ2_S block");

enum { GROUP = 16, OFFSET = 43 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)) * 0.125f; }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (b->scales[group / 2] >> group % 2 * 4 & 15) + 1; }
LIMN_INLINE iq_run run_of(const block *b, int i) {
  return (iq_run){limn_grid_iq2_s[b->low[i] | (b->high[i / 4] >> i % 4 * 2 & 3) << 8], b->signs[i]};
}
LIMN_INLINE int value_of(iq_run run, int i) { return iq_signed(iq2_magnitude(run.code, i), run.signs, i); }
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) { return v_signed(v_iq2_magnitudes(codes), signs, OFFSET); }

#include "iq_recipe.h"

int limn_recipe_iq2_s(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
