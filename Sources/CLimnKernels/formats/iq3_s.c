// IQ3_S: super-blocks of 256 weights in 8 groups of 32; a point is a run of 4.
//
//   bytes    0–1    d, float16
//   bytes    2–65   low 8 bits of the points, a byte a run of 4
//   bytes   66–73   high bits of the points: byte g, bit i: run 8g + i
//   bytes   74–105  signs, a byte for 8 weights
//   bytes  106–109  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (2 · scale + 1)) · value
#include "iq.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[64];
  uint8_t high[8];
  uint8_t signs[32];
  uint8_t scales[4];
} block;
_Static_assert(sizeof(block) == LIMN_IQ3_S_BYTES, "IQ3_S block");

enum { GROUP = 32, OFFSET = 15 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)); }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (b->scales[group / 2] >> group % 2 * 4 & 15) + 1; }
LIMN_INLINE uint32_t code_of(const block *b, int point) {
  return limn_grid_iq3_s[b->low[point] | (b->high[point / 8] >> point % 8 & 1) << 8];
}
LIMN_INLINE iq_run run_of(const block *b, int i) {
  return (iq_run){code_of(b, 2 * i) | code_of(b, 2 * i + 1) << 16, b->signs[i]};
}

/// The digits stand for the odd numbers 1 to 15.
LIMN_INLINE int value_of(iq_run run, int i) { return iq_signed(2 * (int)(run.code >> 4 * i & 15) + 1, run.signs, i); }
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) {
  return v_signed((v_digits_4(codes) << 1) + bytes_of(1), signs, OFFSET);
}

#include "iq_recipe.h"

int limn_recipe_iq3_s(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
