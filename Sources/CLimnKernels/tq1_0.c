// TQ1_0: super-blocks of 256 weights −1, 0 or 1; five of them share a byte.
//
//   bytes   0–31  byte i: weights i, i+32, i+64, i+96, i+128
//   bytes  32–47  byte 32 + i: weights 160 + i, 176 + i, … 224 + i
//   bytes  48–51  byte 48 + i: weights 240 + i, 244 + i, 248 + i, 252 + i
//   bytes  52–53  d, float16
//
// A byte is a fraction of 256 in base 3: its first digit is byte · 3 / 256, and the rest is the next fraction.
//
//   weight = d · (digit − 1)
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t q[52];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == 54, "TQ1_0 block");

/// `bytes` bytes of `digits` digits; those of one place lie side by side.
LIMN_INLINE void digits_of(const uint8_t *q, int bytes, int digits, float d, float *out) {
  uint8_t fraction[32];
  memcpy(fraction, q, (size_t)bytes);
  for (int n = 0; n < digits; n++)
    for (int i = 0; i < bytes; i++) {
      out[n * bytes + i] = d * (float)((fraction[i] * 3 >> 8) - 1);
      fraction[i] = (uint8_t)(fraction[i] * 3);
    }
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    digits_of(b->q, 32, 5, d, values + start);
    digits_of(b->q + 32, 16, 5, d, values + start + 160);
    digits_of(b->q + 48, 4, 4, d, values + start + 240);
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_path_tq1_0(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(path, isa, LIMN_TQ1_0);
  limn_products_float32(path, isa);
  return arithmetic == LIMN_FLOAT32;
}
