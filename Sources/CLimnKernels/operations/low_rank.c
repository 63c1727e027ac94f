// Merges an adapter (LoRA) into a weight: merged[r, c] = weight[r, c] + scale · Σₖ left[r, k] · right[k, c], in
// float32, rounded once to the type of the merged weight.
//
// An item is a group of columns. Its part of `right` is first copied to [k][column], whatever the strides; then four
// rows at a time are summed in registers.
#include "kernels.h"
#include "simd.h"

enum { COLUMNS = LIMN_LOW_RANK_COLUMNS, ROWS = 4 };

size_t limn_low_rank_scratch(const limn_low_rank_job *job) { return (size_t)job->rank * COLUMNS * sizeof(float); }

/// right[:, column...] as [rank][COLUMNS], zeros past the last column.
static void gather_right(const limn_low_rank_job *j, ptrdiff_t column, ptrdiff_t count, float *panel) {
  memset(panel, 0, limn_low_rank_scratch(j));
  for (ptrdiff_t k = 0; k < j->rank; k++)
    for (ptrdiff_t c = 0; c < count; c++)
      panel[k * COLUMNS + c] = j->right[k * j->right_rank + (column + c) * j->right_column];
}

static void store_value(const limn_low_rank_job *j, ptrdiff_t at, float value) {
  const uint16_t half = j->type == LIMN_F16 ? half_from_float(value) : bfloat_from_float(value);
  if (j->type == LIMN_F32)
    memcpy((float *)j->merged + at, &value, sizeof value);
  else
    memcpy((uint16_t *)j->merged + at, &half, sizeof half);
}

// MARK: The scalar reference

static void low_rank_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_low_rank_job *j = job;
  const size_t size = j->row_bytes / (size_t)j->columns;
  for (ptrdiff_t row = 0; row < j->rows; row++)
    for (ptrdiff_t c = begin * COLUMNS; c < end * COLUMNS && c < j->columns; c++) {
      float weight, sum = 0;
      j->recipe->dequantize((const char *)j->weight + (size_t)row * j->row_bytes + (size_t)c * size, &weight, 1);
      for (ptrdiff_t k = 0; k < j->rank; k++)
        sum = fmaf(
          j->left[row * j->left_row + k * j->left_rank], j->right[k * j->right_rank + c * j->right_column], sum);
      store_value(j, row * j->columns + c, fmaf(j->scale, sum, weight));
    }
}

// MARK: Vectors: four rows by 64 columns

LIMN_INLINE void low_rank_rows(
  const limn_low_rank_job *j, ptrdiff_t row, int rows, ptrdiff_t column, ptrdiff_t count, const float *panel) {
  v16f sum[ROWS][COLUMNS / 16];
  for (int r = 0; r < rows; r++)
    LIMN_UNROLL (int v = 0; v < COLUMNS / 16; v++) sum[r][v] = v_splat(0);
  const float *left = j->left + row * j->left_row;
  for (ptrdiff_t k = 0; k < j->rank; k++)
    for (int r = 0; r < rows; r++) {
      const v16f factor = v_splat(left[r * j->left_row + k * j->left_rank]);
      LIMN_UNROLL (int v = 0; v < COLUMNS / 16; v++)
        sum[r][v] = v_fma(factor, v_load(panel + k * COLUMNS + 16 * v), sum[r][v]);
    }
  const size_t size = j->row_bytes / (size_t)j->columns;
  for (int r = 0; r < rows; r++) {
    float values[COLUMNS] = {0};
    j->recipe->dequantize(
      (const char *)j->weight + (size_t)(row + r) * j->row_bytes + (size_t)column * size, values, (int)count);
    LIMN_UNROLL (int v = 0; v < COLUMNS / 16; v++)
      v_store(values + 16 * v, v_fma(v_splat(j->scale), sum[r][v], v_load(values + 16 * v)));
    for (ptrdiff_t c = 0; c < count; c++) store_value(j, (row + r) * j->columns + column + c, values[c]);
  }
}

LIMN_INLINE void low_rank_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const limn_low_rank_job *j = job;
  for (ptrdiff_t item = begin; item < end; item++) {
    const ptrdiff_t column = item * COLUMNS, left = j->columns - column;
    const ptrdiff_t count = left < COLUMNS ? left : COLUMNS;
    gather_right(j, column, count, scratch);
    ptrdiff_t row = 0;
    for (; row + ROWS <= j->rows; row += ROWS) low_rank_rows(j, row, ROWS, column, count, scratch);
    for (; row < j->rows; row++) low_rank_rows(j, row, 1, column, count, scratch);
  }
}
LIMN_KERNEL_INSTANCES(low_rank)

void limn_install_low_rank(limn_kernels *kernels) { kernels->low_rank = LIMN_PICK(kernels->isa, low_rank); }
