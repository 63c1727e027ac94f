// Q4_K: super-blocks of 256 weights in 8 groups of 32, each group with a 6-bit scale and a 6-bit minimum.
//
//   bytes   0–1    d, float16
//   bytes   2–3    dmin, float16
//   bytes   4–15   scales and minimums:
//                    byte j (0–3):      low 6 bits scale j,      top 2 bits: bits 4–5 of scale j + 4
//                    byte 4 + j:        low 6 bits minimum j,    top 2 bits: bits 4–5 of minimum j + 4
//                    byte 8 + j:        low nibble: bits 0–3 of scale j + 4, high nibble: of minimum j + 4
//   bytes  16–143  q: 4 runs of 32 bytes; run i holds group 2i in its low nibbles and group 2i + 1 in its high ones
//
//   weight = (d · scale) · q − (dmin · minimum)
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t q[128];
} block;
_Static_assert(sizeof(block) == 144, "Q4_K block");

LIMN_INLINE int scale_of(const block *b, int group) {
  const uint8_t *s = b->scales;
  return group < 4 ? s[group] & 63 : (s[group + 4] & 15) | (s[group - 4] >> 6) << 4;
}
LIMN_INLINE int min_of(const block *b, int group) {
  const uint8_t *s = b->scales;
  return group < 4 ? s[group + 4] & 63 : s[group + 4] >> 4 | (s[group] >> 6) << 4;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d)), dmin = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 8; g++) {
      const float scale = d * (float)scale_of(b, g), min = dmin * (float)min_of(b, g);
      const uint8_t *q = b->q + g / 2 * 32;
      float *out = values + start + g * 32;
      for (int i = 0; i < 32; i++) out[i] = scale * (float)(q[i] >> g % 2 * 4 & 15) - min;
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

static void unpack_scalar(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)path, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = float_from_half(load_u16(b->d));
    w->dmin[r] = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 8; g++) {
      w->scale[g][r] = scale_of(b, g);
      w->min[g / 2][r][g % 2] = (int16_t)min_of(b, g);
    }
    for (int k = 0; k < LIMN_BLOCK; k++)
      w->q[k / 4][r][k % 4] = b->q[k / 64 * 32 + k % 32] >> k / 32 % 2 * 4 & 15;
  }
}

/// Every step works on 16 rows: four bytes of each are a vector after a transposition.
LIMN_INLINE void unpack_body(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)path, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);

  v16i head[4];  // d and dmin, then the three words of scales
  v_load_words(row, 0, head);
  v_store(w->d, v_float_from_half(head[0] & 0xffff));
  v_store(w->dmin, v_float_from_half(head[0] >> 16 & 0xffff));
  const v16i scales[2] = {head[1] & 0x3f3f3f3f, (head[3] & 0x0f0f0f0f) | (head[1] >> 2 & 0x30303030)};
  const v16i mins[2] = {head[2] & 0x3f3f3f3f, (head[3] >> 4 & 0x0f0f0f0f) | (head[2] >> 2 & 0x30303030)};
  LIMN_UNROLL for (int g = 0; g < 8; g++) v_store_bytes(w->scale[g], scales[g / 4] >> g % 4 * 8 & 0xff);
  LIMN_UNROLL for (int g = 0; g < 8; g += 2) {
    const v16i pair = mins[g / 4] >> g % 4 * 8;
    v_store_bytes(w->min[g / 2], (pair & 0xff) | (pair << 8 & 0xff0000));
  }
  for (int part = 0; part < 2; part++) {
    v16i q[16];
    LIMN_UNROLL for (int r = 0; r < 16; r++) q[r] = v_load_bytes(row[r] + offsetof(block, q) + part * 64);
    v_transpose(q);
    LIMN_UNROLL for (int i = 0; i < 16; i++) {
      const int k = part * 32 + i / 8 * 16 + i % 8;
      v_store_bytes(w->q[k], q[i] & 0x0f0f0f0f);
      v_store_bytes(w->q[k + 8], q[i] >> 4 & 0x0f0f0f0f);
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (path, weight, row_bytes, rows, columns, panel))

int limn_path_q4_k(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(path, isa);
    return 1;
  }
  limn_products_int8_k(path, isa, 32);
  path->unpack = LIMN_PICK(isa, unpack);
  return arithmetic == LIMN_INT8;
}
