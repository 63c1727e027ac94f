// Included at the end of every IQ format's file: reference, unpacking and recipe are the same for all of them. Before
// that, the file defines `block` and
//
//   d_of(b), run_of(b, i), scale_of(b, g)     d · unit, the i-th run of 8, the scale of the g-th group
//   value_of(run, i)                          the value of weight i of a run
//   v_values_of(codes, signs)                 eight runs: the values plus OFFSET, a byte each
//   GROUP, OFFSET                             weights that share a scale; the largest magnitude of a value
//
// They use the panels of the K formats: scale · value = scale · (value + OFFSET) − OFFSET · scale. On AVX2 the sum of
// two products fits 16 bits, since value + OFFSET ≤ 2 · 62 and 2 · 124 · 127 < 2¹⁵.

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++)
    for (int i = 0; i < LIMN_BLOCK / 8; i++) {
      const iq_run run = run_of(b, i);
      const float scale = d_of(b) * (float)scale_of(b, i * 8 / GROUP);
      for (int k = 0; k < 8; k++) values[start + i * 8 + k] = scale * (float)value_of(run, k);
    }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

LIMN_INLINE void unpack_scales(const block *b, int r, limn_panel_k *w) {
  w->d[r] = w->dmin[r] = d_of(b);
  for (int g = 0; g < LIMN_BLOCK / GROUP; g++) {
    const int scale = scale_of(b, g);
    w->scale[g][r] = scale;
    w->min[g / 2][r][g % 2] = (int16_t)(OFFSET * scale);
  }
}

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    unpack_scales(b, r, w);
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)(value_of(run_of(b, k / 8), k % 8) + OFFSET);
  }
}

/// A vector holds 64 weights of one row; transposing then turns lanes into rows.
LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) unpack_scales((const block *)row[r], r, w);
  for (int part = 0; part < 4; part++) {
    v16i q[LIMN_PANEL_ROWS];
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      v8u codes, signs;
      LIMN_UNROLL (int i = 0; i < 8; i++) {
        const iq_run run = run_of((const block *)row[r], part * 8 + i);
        codes[i] = run.code;
        signs[i] = run.signs;
      }
      q[r] = (v16i)v_values_of(codes, signs);
    }
    v_transpose(q);
    LIMN_UNROLL (int i = 0; i < 16; i++) v_store_bytes(w->q[part * 16 + i], q[i]);
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

LIMN_INLINE int recipe_of(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, GROUP, 128);
  recipe->unpack = LIMN_PICK(isa, unpack);
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, GROUP, 128);
  return arithmetic == LIMN_INT8;
}
