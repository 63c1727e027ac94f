// IQ2_XXS: super-blocks of 256 weights in 8 groups of 32.
//
//   bytes  0–1   d, float16
//   bytes  2–65  8 bytes a group: four points, a byte each, then a word: 7 bits of signs for each run of 8, from the
//                lowest, and the scale in the top 4 bits
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"

typedef struct {
  uint8_t d[2];
  struct {
    uint8_t points[4];
    uint8_t signs[4];
  } groups[8];
} block;
_Static_assert(sizeof(block) == LIMN_IQ2_XXS_BYTES, "IQ2_XXS block");

enum { GROUP = 32, OFFSET = 43 };

LIMN_INLINE float d_of(const block *b) { return float_from_half(load_u16(b->d)) * 0.125f; }
LIMN_INLINE int scale_of(const block *b, int group) { return 2 * (int)(load_u32(b->groups[group].signs) >> 28) + 1; }
LIMN_INLINE iq_run run_of(const block *b, int i) {
  const uint32_t code = limn_grid_iq2_xxs[b->groups[i / 4].points[i % 4]];
  return (iq_run){code, load_u32(b->groups[i / 4].signs) >> i % 4 * 7 & 127};
}
LIMN_INLINE int value_of(iq_run run, int i) {
  return iq_signed(iq2_magnitude(run.code, i), run.signs | eighth_sign(run.signs), i);
}
LIMN_INLINE v8u v_values_of(v8u codes, v8u signs) {
  return v_signed(v_iq2_magnitudes(codes), signs | v_eighth_sign(signs), OFFSET);
}

#include "iq_recipe.h"

int limn_recipe_iq2_xxs(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  return recipe_of(recipe, isa, arithmetic);
}
