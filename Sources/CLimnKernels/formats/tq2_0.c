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
_Static_assert(sizeof(block) == LIMN_TQ2_0_BYTES, "TQ2_0 block");

LIMN_INLINE int q_of(const block *b, int k) { return b->q[k / 128 * 32 + k % 32] >> k % 128 / 32 * 2 & 3; }

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int quarters = 0; quarters < 8; quarters++)
      for (int i = 0; i < 32; i++) {
        const int k = quarters * 32 + i;
        values[start + k] = d * (float)(q_of(b, k) - 1);
      }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The offset of 1 is written as a minimum, as in Q6_K. All scales are 1.
static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = w->dmin[r] = float_from_half(load_u16(b->d));
    for (int g = 0; g < 8; g++) w->scale[g][r] = w->min[g / 2][r][g % 2] = 1;
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)q_of(b, k);
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  const v16f d = v_load_halves(row, offsetof(block, d));
  v_store(w->d, d);
  v_store(w->dmin, d);
  LIMN_UNROLL (int g = 0; g < 8; g++) v_store_bytes(w->scale[g], (v16i){0} + 1);
  LIMN_UNROLL (int g = 0; g < 4; g++) v_store_bytes(w->min[g], (v16i){0} + 0x10001);

  v16i q[16];  // words 0–7 are the first run, words 8–15 the second
  LIMN_UNROLL (int r = 0; r < 16; r++) q[r] = v_load_bytes(row[r] + offsetof(block, q));
  v_transpose(q);
  LIMN_UNROLL (int i = 0; i < 16; i++)
    LIMN_UNROLL (int quarter = 0; quarter < 4; quarter++)
      v_store_bytes(w->q[i / 8 * 32 + quarter * 8 + i % 8], q[i] >> quarter * 2 & 0x03030303);
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

int limn_recipe_tq2_0(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 32, 3);
  recipe->unpack = LIMN_PICK(isa, unpack);
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 32, 3);
  return arithmetic == LIMN_INT8;
}
