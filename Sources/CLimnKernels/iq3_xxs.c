// IQ3_XXS: super-blocks of 256 weights in 8 groups of 32; points are runs of 4.
//
//   bytes   0–1   d, float16
//   bytes   2–65  points, a byte a run of 4
//   bytes  66–97  a word a group: 7 bits of signs for every 8 weights, from the lowest, and the scale in the top 4
//
//   weight = ±(d · (scale + 1/2) / 2) · value
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  uint8_t points[64];
  uint8_t signs[8][4];
} block;
_Static_assert(sizeof(block) == 98, "IQ3_XXS block");

/// 4, 12, … 52 and 62 for the digits 0, 1, … 6 and 7: eight times the digit, and 2 more for 7, the only one that
/// carries into bit 3 when 1 is added.
LIMN_INLINE uint64_t values_of(const uint8_t points[2]) {
  const uint64_t digits = four_digits(limn_grid_iq3_xxs[points[0]], limn_grid_iq3_xxs[points[1]]);
  return 0x0404040404040404 + 8 * digits + ((digits + 0x0101010101010101) >> 2 & 0x0202020202020202);
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int g = 0; g < 8; g++) {
      const uint32_t word = load_u32(b->signs[g]);
      const float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
      for (int i = 0; i < 4; i++)
        store_eight(
          values + start + g * 32 + i * 8, scale, values_of(b->points + g * 8 + i * 2), eight_signs(word >> 7 * i));
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq3_xxs(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ3_XXS);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
