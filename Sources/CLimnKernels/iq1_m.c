// IQ1_M: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–31  low 8 bits of the points, a byte a run of 8
//   bytes  32–47  4 bits a run, low nibble first: high 3 bits of its point; bit 3: the shift is negative
//   bytes  48–55  4 pairs of bytes: the scales of four groups, 3 bits each from the lowest, and 4 bits of d, float16,
//                 the first pair's lowest
//
//   weight = (d · (2 · scale + 1)) · (value ± 1/8)
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t low[32];
  uint8_t high[16];
  uint8_t scales[4][2];
} block;
_Static_assert(sizeof(block) == 56, "IQ1_M block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    uint16_t bits = 0;
    for (int i = 0; i < 4; i++) bits |= (uint16_t)(load_u16(b->scales[i]) >> 12 << 4 * i);
    const float d = float_from_half(bits);
    for (int i = 0; i < 32; i++) {
      const float scale = d * (float)(2 * (load_u16(b->scales[i / 8]) >> i / 2 % 4 * 3 & 7) + 1);
      const int nibble = b->high[i / 2] >> i % 2 * 4 & 15;
      store_eight_shifted(
        values + start + i * 8, scale, limn_grid_iq1_s[b->low[i] | (nibble & 7) << 8], nibble >> 3);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq1_m(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ1_M);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
