// IQ2_XS: super-blocks of 256 weights in 16 groups of 16.
//
//   bytes   0–1   d, float16
//   bytes   2–65  2 bytes a run of 8: the point in the low 9 bits, signs in the high 7
//   bytes  66–73  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (scale + 1/2) / 4) · value
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  uint8_t runs[32][2];
  uint8_t scales[8];
} block;
_Static_assert(sizeof(block) == 74, "IQ2_XS block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) {
      const float scale = d * (0.5f + (float)(b->scales[i / 4] >> i / 2 % 2 * 4 & 15)) * 0.25f;
      const uint16_t run = load_u16(b->runs[i]);
      store_eight(values + start + i * 8, scale, iq2_values(limn_grid_iq2_xs[run & 511]), eight_signs(run >> 9));
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq2_xs(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ2_XS);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
