// IQ3_XXS: super-blocks of 256 weights in 8 groups of 32; a point is a run of 4.
//
//   bytes   0–1   d, float16
//   bytes   2–65  points, a byte a run of 4
//   bytes  66–97  a word a group: 7 bits of signs for every 8 weights, from the lowest, and the scale in the top 4
//
//   weight = ±(d · (scale + 1/2) / 2) · value
#include "iq.h"

typedef struct {
  uint8_t d[2];
  uint8_t points[64];
  uint8_t signs[8][4];
} block;
_Static_assert(sizeof(block) == LIMN_IQ3_XXS_BYTES, "IQ3_XXS block");

enum { GROUP = 32, OFFSET = 62 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)) * 0.25f; }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (int)(load_u32(b->signs[group]) >> 28) + 1; }
LIMN_INLINE iq_run run_of(const block *b, int i) {
  const uint32_t low = limn_grid_iq3_xxs[b->points[2 * i]], high = limn_grid_iq3_xxs[b->points[2 * i + 1]];
  return (iq_run){low | high << 16, load_u32(b->signs[i / 4]) >> i % 4 * 7 & 127};
}

/// The digits 0 to 7 stand for 4, 12, 20, … 52, and 62.
LIMN_INLINE int value_of(iq_run run, int i) {
  const int digit = run.code >> 4 * i & 15;
  return iq_signed(digit == 7 ? 62 : 4 + 8 * digit, run.signs | eighth_sign(run.signs), i);
}
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) {
  const v8u digits = v_digits_4(codes), seven = (digits + bytes_of(1)) >> 2 & bytes_of(2);  // 2 where the digit is 7
  return v_signed(bytes_of(4) + (digits << 3) + seven, signs | v_eighth_sign(signs), OFFSET);
}

#include "iq_recipe.h"

int limn_recipe_iq3_xxs(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
