// IQ2_S: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–1   d, float16
//   bytes   2–33  low 8 bits of the points, a byte a run of 8
//   bytes  34–65  signs, a byte a run
//   bytes  66–73  high 2 bits of the points: byte i, from its lowest bits: runs 4i to 4i + 3
//   bytes  74–81  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[32];
  uint8_t signs[32];
  uint8_t high[8];
  uint8_t scales[8];
} block;
_Static_assert(sizeof(block) == 82, "IQ2_S block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) {
      const float scale = d * (0.5f + (float)(b->scales[i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
      const int point = b->low[i] | (b->high[i / 4] >> i % 4 * 2 & 3) << 8;
      store_eight(values + start + i * 8, scale, iq2_values(limn_grid_iq2_s[point]), b->signs[i]);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq2_s(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ2_S);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
