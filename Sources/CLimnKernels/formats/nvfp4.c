// NVFP4: blocks of 64 weights of 4 bits (a sign, 2 bits of exponent, 1 of fraction) in 4 groups of 16, each with an
// unsigned 8-bit scale (4 bits of exponent, 3 of fraction).
//
//   bytes  0–3   scales
//   bytes  4–35  8 bytes a group: byte i holds the number of weight i (low nibble) and of weight i + 8 (high)
//
//   weight = scale / 2 · table[number], the table being twice what the 4 bits say
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t scales[4];
  uint8_t q[4][8];
} block;
_Static_assert(sizeof(block) == LIMN_NVFP4_BYTES, "NVFP4 block");

static const int8_t table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Half of the scale. 127, the pattern of NaN, counts as zero, as in the reference.
LIMN_INLINE float half_scale(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  if (bits == 127) return 0;
  return exponent == 0 ? (float)fraction * 0x1p-10f
                       : (float)(8 + fraction) * 0x1p-3f * float_from_bits((uint32_t)(exponent + 119) << 23);
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += 64, b++)
    for (int g = 0; g < 4; g++) {
      const float d = half_scale(b->scales[g]);
      for (int i = 0; i < 16; i++) values[start + g * 16 + i] = d * (float)table[b->q[g][i % 8] >> i / 8 * 4 & 15];
    }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_recipe_nvfp4(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32_ROWS) return limn_products_rows(recipe, isa, LIMN_NVFP4);
  if (arithmetic == LIMN_INT16) return limn_products_int16(recipe, isa);
  limn_products_float32(recipe, isa);
  return arithmetic == LIMN_FLOAT32;
}
