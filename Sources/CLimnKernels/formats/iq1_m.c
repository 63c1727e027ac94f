// IQ1_M: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–31  low 8 bits of the points, a byte a run of 8
//   bytes  32–47  4 bits a run, low nibble first: high 3 bits of its point; bit 3: the shift is negative
//   bytes  48–55  4 pairs of bytes: the scales of four groups, 3 bits each from the lowest, and 4 bits of d, float16,
//                 the first pair's lowest
//
//   weight = (d · (2 · scale + 1)) · (value ± 1/8)
#include "iq.h"

typedef struct {
  uint8_t low[32];
  uint8_t high[16];
  uint8_t scales[4][2];
} block;
_Static_assert(sizeof(block) == LIMN_IQ1_M_BYTES, "IQ1_M block");

enum { GROUP = 16, OFFSET = 9 };

LIMN_INLINE float d_of(const block *b) {
  uint16_t bits = 0;
  for (int i = 0; i < 4; i++) bits |= (uint16_t)(load_u16(b->scales[i]) >> 12 << 4 * i);
  return float_from_half(bits) * 0.125f;
}
LIMN_INLINE int scale_of(const block *b, int group) {
  return 2 * (load_u16(b->scales[group / 4]) >> group % 4 * 3 & 7) + 1;
}
LIMN_INLINE iq_run run_of(const block *b, int i) {
  const int nibble = b->high[i / 2] >> i % 2 * 4 & 15;
  return (iq_run){limn_grid_iq1_s[b->low[i] | (nibble & 7) << 8], (uint32_t)nibble >> 3};
}
LIMN_INLINE int value_of(iq_run run, int i) { return iq1_eighths(run, i); }
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) { return v_iq1_eighths(codes, signs); }

#include "iq_recipe.h"

int limn_recipe_iq1_m(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
