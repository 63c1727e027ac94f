// TQ2_0: super-blocks of 256 weights of 2 bits: −1, 0, 1 (and 2, which its quantiser does not write).
//
//   bytes   0–63  q, in two runs of 32 bytes, each for 128 weights: byte i, from its lowest bits: weights i, i+32,
//                 i+64, i+96
//   bytes  64–65  d, float16                                        weight = d · (q − 1)
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t q[64];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == 66, "TQ2_0 block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int quarters = 0; quarters < 8; quarters++) {
      const uint8_t *q = b->q + quarters / 4 * 32;
      float *out = values + start + quarters * 32;
      for (int i = 0; i < 32; i++) out[i] = d * (float)((q[i] >> quarters % 4 * 2 & 3) - 1);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_tq2_0(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_TQ2_0);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
