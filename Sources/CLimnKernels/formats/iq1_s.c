// IQ1_S: super-blocks of 256 weights in 8 groups of 32.
//
//   bytes   0–1   d, float16
//   bytes   2–33  low 8 bits of the points, a byte a run of 8
//   bytes  34–49  2 bytes a group: high 3 bits of its four points, from the lowest; the scale in bits 12–14; bit 15:
//                 the shift is negative
//
//   weight = (d · (2 · scale + 1)) · (value ± 1/8)
#include "iq.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[32];
  uint8_t high[8][2];
} block;
_Static_assert(sizeof(block) == LIMN_IQ1_S_BYTES, "IQ1_S block");

enum { GROUP = 32, OFFSET = 9 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)) * 0.125f; }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (load_u16(b->high[group]) >> 12 & 7) + 1; }
LIMN_INLINE iq_run run_of(const block *b, int i) {
  const uint16_t group = load_u16(b->high[i / 4]);
  return (iq_run){limn_grid_iq1_s[b->low[i] | (group >> i % 4 * 3 & 7) << 8], group >> 15};
}
LIMN_INLINE int value_of(iq_run run, int i) { return iq1_eighths(run, i); }
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) { return v_iq1_eighths(codes, signs); }

#include "iq_recipe.h"

int limn_recipe_iq1_s(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
