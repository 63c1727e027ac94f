// The loops around the products, the same for every weight format: prepare tokens, unpack panels, multiply tiles.
//
// Panels of weight rows are unpacked once and multiplied with all tokens, tile by tile; when there is one tile only
// (decoding), each block is multiplied as soon as it is unpacked and never leaves the nearest cache.
#include "kernels.h"
#include "simd.h"

static void prepare(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_prepare_job *j = job;
  for (ptrdiff_t t = begin; t < end; t++) {
    char *out = (char *)j->prepared + t * j->prepared_stride;
    for (ptrdiff_t k = 0; k < j->columns; k += LIMN_BLOCK, out += j->path->x_bytes)
      j->path->prepare(
        j->x + t * j->columns + k, out, (int)(j->columns - k < LIMN_BLOCK ? j->columns - k : LIMN_BLOCK));
  }
}

static void gather(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_gather_job *j = job;
  for (ptrdiff_t i = begin; i < end; i++)
    j->path->dequantize(
      (const char *)j->table + (size_t)j->ids[i] * j->row_bytes, j->y + i * j->columns, (int)j->columns);
}

typedef struct {
  float sums[LIMN_TILE_TOKENS][LIMN_PANEL_ROWS];
} tile_sums;

size_t limn_linear_scratch(const limn_linear_job *job) {
  const size_t blocks = (size_t)(job->columns + LIMN_BLOCK - 1) / LIMN_BLOCK;
  const size_t panels = job->tokens <= LIMN_TILE_TOKENS ? 1 : blocks * (size_t)job->panels;
  return panels * job->path->panel_bytes;
}

static int columns_of_block(const limn_linear_job *j, ptrdiff_t block) {
  const ptrdiff_t left = j->columns - block * LIMN_BLOCK;
  return left < LIMN_BLOCK ? (int)left : LIMN_BLOCK;
}

static void finish(const limn_linear_job *j, ptrdiff_t row, int rows, ptrdiff_t token, int tokens, tile_sums *tile) {
  for (int t = 0; t < tokens; t++) {
    float *y = j->y + (token + t) * j->rows + row;
    for (int r = 0; r < rows; r++) {
      const float sum = j->bias ? tile->sums[t][r] + j->bias[row + r] : tile->sums[t][r];
      y[r] = j->adding ? y[r] + sum : sum;
    }
  }
}

/// Fetches one of `blocks` equal pieces of the panel that comes next. Its rows follow one another in memory: read in
/// that order they arrive at full speed, which the sixteen places that unpacking reads from would not.
LIMN_INLINE void prefetch(const char *panel, ptrdiff_t block, ptrdiff_t blocks, size_t row_bytes) {
  const size_t bytes = LIMN_PANEL_ROWS * row_bytes;
  const size_t end = bytes * (size_t)(block + 1) / (size_t)blocks;
  for (size_t at = bytes * (size_t)block / (size_t)blocks; at < end; at += 64) __builtin_prefetch(panel + at, 0, 2);
}

static void linear(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const limn_linear_job *j = job;
  const limn_path *path = j->path;
  const ptrdiff_t blocks = (j->columns + LIMN_BLOCK - 1) / LIMN_BLOCK;
  const int single = j->tokens <= LIMN_TILE_TOKENS;
  _Alignas(64) tile_sums tile;
  for (ptrdiff_t item = begin; item < end; item++) {
    const ptrdiff_t first_row = item / j->token_parts * j->panels * LIMN_PANEL_ROWS, part = item % j->token_parts;
    const ptrdiff_t tiles = (j->tokens + LIMN_TILE_TOKENS - 1) / LIMN_TILE_TOKENS;
    const ptrdiff_t first_token = part * tiles / j->token_parts * LIMN_TILE_TOKENS;
    ptrdiff_t last_token = (part + 1) * tiles / j->token_parts * LIMN_TILE_TOKENS;
    if (last_token > j->tokens) last_token = j->tokens;
    ptrdiff_t panels = (j->rows - first_row + LIMN_PANEL_ROWS - 1) / LIMN_PANEL_ROWS;
    if (panels > j->panels) panels = j->panels;
    const char *weight = (const char *)j->weight + (size_t)first_row * j->row_bytes;

    if (!single)
      for (ptrdiff_t p = 0; p < panels; p++) {
        const ptrdiff_t left = j->rows - first_row - p * LIMN_PANEL_ROWS;
        for (ptrdiff_t b = 0; b < blocks; b++)
          path->unpack(
            path, weight + (size_t)(p * LIMN_PANEL_ROWS) * j->row_bytes + (size_t)b * path->weight_bytes,
            j->row_bytes, left < LIMN_PANEL_ROWS ? (int)left : LIMN_PANEL_ROWS, columns_of_block(j, b),
            (char *)scratch + (size_t)(p * blocks + b) * path->panel_bytes);
      }

    for (ptrdiff_t t = first_token; t < last_token; t += LIMN_TILE_TOKENS) {
      const int tokens = last_token - t < LIMN_TILE_TOKENS ? (int)(last_token - t) : LIMN_TILE_TOKENS;
      const char *x = (const char *)j->prepared + (size_t)t * j->prepared_stride;
      for (ptrdiff_t p = 0; p < panels; p++) {
        const ptrdiff_t row = first_row + p * LIMN_PANEL_ROWS;
        const int rows = j->rows - row < LIMN_PANEL_ROWS ? (int)(j->rows - row) : LIMN_PANEL_ROWS;
        memset(&tile, 0, sizeof tile);
        for (ptrdiff_t b = 0; b < blocks; b++) {
          char *panel = scratch;
          if (single) {
            if (p + 1 < panels)
              prefetch(weight + (size_t)((p + 1) * LIMN_PANEL_ROWS) * j->row_bytes, b, blocks, j->row_bytes);
            path->unpack(
              path, weight + (size_t)(p * LIMN_PANEL_ROWS) * j->row_bytes + (size_t)b * path->weight_bytes,
              j->row_bytes, rows, columns_of_block(j, b), panel);
          } else
            panel += (size_t)(p * blocks + b) * path->panel_bytes;
          path->multiply(
            panel, x + (size_t)b * path->x_bytes, j->prepared_stride, tokens, tile.sums[0], LIMN_PANEL_ROWS,
            columns_of_block(j, b));
        }
        finish(j, row, rows, t, tokens, &tile);
      }
    }
  }
}

void limn_install_linear(limn_kernels *kernels) {
  kernels->prepare = prepare;
  kernels->linear = linear;
  kernels->gather = gather;
}
