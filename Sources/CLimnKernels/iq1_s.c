// IQ1_S: super-blocks of 256 weights in 8 groups of 32.
//
//   bytes   0–1   d, float16
//   bytes   2–33  low 8 bits of the points, a byte a run of 8
//   bytes  34–49  2 bytes a group: high 3 bits of its four points, from the lowest; the scale in bits 12–14; bit 15:
//                 the shift is negative
//
//   weight = (d · (2 · scale + 1)) · (value ± 1/8)
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[32];
  uint8_t high[8][2];
} block;
_Static_assert(sizeof(block) == 50, "IQ1_S block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) {
      const uint16_t group = load_u16(b->high[i / 4]);
      const float scale = d * (float)(2 * (group >> 12 & 7) + 1);
      const int point = b->low[i] | (group >> i % 4 * 3 & 7) << 8;
      store_eight_shifted(values + start + i * 8, scale, limn_grid_iq1_s[point], group >> 15);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq1_s(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ1_S);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
