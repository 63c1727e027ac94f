// IQ3_S: super-blocks of 256 weights in 8 groups of 32; points are runs of 4.
//
//   bytes    0–1    d, float16
//   bytes    2–65   low 8 bits of the points, a byte a run of 4
//   bytes   66–73   high bits of the points: byte g, bit i: run 8g + i
//   bytes   74–105  signs, a byte for 8 weights
//   bytes  106–109  scales: byte i, group 2i (low nibble) and group 2i + 1 (high)
//
//   weight = ±(d · (2 · scale + 1)) · value
#include "iq.h"
#include "kernels.h"

typedef struct {
  uint8_t d[2];
  uint8_t low[64];
  uint8_t high[8];
  uint8_t signs[32];
  uint8_t scales[4];
} block;
_Static_assert(sizeof(block) == 110, "IQ3_S block");

LIMN_INLINE uint16_t code_of(const block *b, int run) {
  return limn_grid_iq3_s[b->low[run] | (b->high[run / 8] >> run % 8 & 1) << 8];
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) {
      const float scale = d * (float)(1 + 2 * (b->scales[i / 8] >> i / 4 % 2 * 4 & 15));
      const uint64_t digits = four_digits(code_of(b, 2 * i), code_of(b, 2 * i + 1));
      store_eight(values + start + i * 8, scale, 2 * digits + 0x0101010101010101, b->signs[i]);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_iq3_s(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_IQ3_S);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
