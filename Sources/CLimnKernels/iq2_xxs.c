// IQ2_XXS: super-blocks of 256 weights in 8 groups of 32.
//
//   bytes  0–1   d, float16
//   bytes  2–65  8 bytes a group: four points, a byte each, then a word: 7 bits of signs for each run of 8, from the
//                lowest, and the scale in the top 4 bits
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  struct {
    uint8_t points[4];
    uint8_t signs[4];
  } groups[8];
} block;
_Static_assert(sizeof(block) == 66, "IQ2_XXS block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int g = 0; g < 8; g++) {
      const uint32_t word = load_u32(b->groups[g].signs);
      const float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
      for (int i = 0; i < 4; i++)
        store_eight(
          values + start + g * 32 + i * 8, scale, iq2_values(limn_grid_iq2_xxs[b->groups[g].points[i]]),
          eight_signs(word >> 7 * i));
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq2_xxs(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ2_XXS);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
