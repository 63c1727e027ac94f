// Q6_K: super-blocks of 256 weights in 16 groups of 16, each group with an 8-bit scale.
//
//   bytes    0–127  low 4 bits of q, in two runs of 64 bytes, each for 128 weights:
//                     byte i (0–31): weight i (low nibble), weight i + 64 (high)
//                     byte 32 + i:   weight i + 32 (low nibble), weight i + 96 (high)
//   bytes  128–191  high 2 bits, in two runs of 32 bytes: byte i, from its lowest bits: weights i, i+32, i+64, i+96
//   bytes  192–207  scales, 16 signed bytes
//   bytes  208–209  d, float16
//
//   weight = (d · scale) · (q − 32)
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == 210, "Q6_K block");

LIMN_INLINE int q_of(const block *b, int k) {
  const int run = k / 128, i = k % 32, quarter = k % 128 / 32;
  const int low = b->low[run * 64 + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
  return low | (b->high[run * 32 + i] >> quarter * 2 & 3) << 4;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      const float scale = d * (float)b->scales[g];
      for (int i = 0; i < 16; i++) values[start + g * 16 + i] = scale * (float)(q_of(b, g * 16 + i) - 32);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The offset of 32 becomes a minimum: scale · (q − 32) = scale · q − 32 · scale.
static void unpack_scalar(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)path, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = w->dmin[r] = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      w->scale[g][r] = b->scales[g];
      w->min[g / 2][r][g % 2] = (int16_t)(32 * b->scales[g]);
    }
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)q_of(b, k);
  }
}

LIMN_INLINE void unpack_body(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)path, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  const v16f d = v_load_halves(row, offsetof(block, d));
  v_store(w->d, d);
  v_store(w->dmin, d);

  v16i scales[4];
  v_load_words(row, offsetof(block, scales), scales);
  LIMN_UNROLL for (int g = 0; g < 16; g += 2) {
    const v16i even = scales[g / 4] << (24 - g % 4 * 8) >> 24, odd = scales[g / 4] << (16 - g % 4 * 8) >> 24;
    v_store_bytes(w->scale[g], even);
    v_store_bytes(w->scale[g + 1], odd);
    v_store_bytes(w->min[g / 2], (even << 5 & 0xffff) | odd << 21);
  }

  // Bits 4 and 5 of all 256 weights: words 0–7 are the first run of 128, words 8–15 the second.
  v16i high[16];
  LIMN_UNROLL for (int r = 0; r < 16; r++) high[r] = v_load_bytes(row[r] + offsetof(block, high));
  v_transpose(high);
  LIMN_UNROLL for (int run = 0; run < 2; run++) {
    v16i low[16];
    LIMN_UNROLL for (int r = 0; r < 16; r++) low[r] = v_load_bytes(row[r] + offsetof(block, low) + run * 64);
    v_transpose(low);
    LIMN_UNROLL for (int i = 0; i < 8; i++) {
      const v16i top = high[run * 8 + i];
      uint8_t(*q)[LIMN_PANEL_ROWS][4] = w->q + run * 32 + i;
      v_store_bytes(q[0], (low[i] & 0x0f0f0f0f) | (top << 4 & 0x30303030));
      v_store_bytes(q[8], (low[i + 8] & 0x0f0f0f0f) | (top << 2 & 0x30303030));
      v_store_bytes(q[16], (low[i] >> 4 & 0x0f0f0f0f) | (top & 0x30303030));
      v_store_bytes(q[24], (low[i + 8] >> 4 & 0x0f0f0f0f) | (top >> 2 & 0x30303030));
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (path, weight, row_bytes, rows, columns, panel))

int limn_path_q6_k(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(path, isa);
    return 1;
  }
  limn_products_int8_k(path, isa, 16);
  path->unpack = LIMN_PICK(isa, unpack);
  return arithmetic == LIMN_INT8;
}
