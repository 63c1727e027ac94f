// Causal attention for decoding: with few queries, keys and values are read where they lie. Unpacking them into panels,
// as in prefill, would take longer than the computation.
//
// Tiles and running maximum are those of attention.c. A score is the sum of 16 chains, of columns l, l + 16, …, added
// up in the order of `sum_lanes`; values are added to y in the order of positions. So the bits of a query depend
// neither on the queries beside it nor, apart from the softmax's, on the instruction set.
#include "kv.h"
#include "softmax.h"

#include <float.h>

enum { TILE = LIMN_ATTENTION_TILE, SUMS = 4 };  // sums of 16 lanes: as many as AVX2 has registers for

typedef struct {
  ptrdiff_t rows;    // query tokens times the heads that share a key/value head
  ptrdiff_t width;   // the head size in whole vectors
  float *q, *y;      // [rows, width]
  float *m, *l;      // [rows]
  float (*s)[TILE];  // [SUMS][TILE]
} parts;

static size_t lay_out(const limn_attention_job *j, float *scratch, parts *p) {
  const ptrdiff_t rows = j->tokens * (j->heads / j->kv_heads), width = (j->head_size + 15) & ~(ptrdiff_t)15;
  const ptrdiff_t padded = (rows + 15) & ~(ptrdiff_t)15;
  *p = (parts){.rows = rows, .width = width};
  if (scratch) {
    p->q = scratch;
    p->y = p->q + rows * width;
    p->m = p->y + rows * width;
    p->l = p->m + padded;
    p->s = (float(*)[TILE])(p->l + padded);
  }
  return (size_t)(2 * rows * width + 2 * padded + SUMS * TILE) * sizeof(float);
}

size_t limn_attention_in_place_scratch(const limn_attention_job *job) {
  parts p;
  return lay_out(job, NULL, &p);
}

/// Scores of `rows` queries, `width` floats apart, for `count` positions from `keys` on.
typedef void score_rows(
  const limn_attention_job *j, const char *keys, ptrdiff_t count, const float *q, ptrdiff_t width, float (*s)[TILE],
  int rows);

/// y = y · factor + Σ s · value, for each of some rows.
typedef struct {
  const char *values;  // `count` positions, position_bytes apart
  ptrdiff_t count;
  const float (*s)[TILE];  // [rows][position]
  const float *factor;     // [rows]
  float *y;                // rows are `width` floats apart
  ptrdiff_t width;
} addition;
typedef void add_values(const limn_attention_job *j, const addition *a, int rows);

// MARK: The scalar reference

static float sum_lanes_scalar(const float lanes[16]) {
  float half[8], pair[4];
  for (int i = 0; i < 8; i++) half[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; i++) pair[i] = half[2 * i] + half[2 * i + 1];
  return (pair[0] + pair[1]) + (pair[2] + pair[3]);
}

static void score_scalar(
  const limn_attention_job *j, const char *keys, ptrdiff_t count, const float *q, ptrdiff_t width, float (*s)[TILE],
  int rows) {
  for (int r = 0; r < rows; r++)
    for (ptrdiff_t i = 0; i < count; i++) {
      const char *head = keys + (size_t)i * j->position_bytes;
      float lanes[16] = {0};
      for (ptrdiff_t k = 0; k < j->head_size; k++)
        lanes[k % 16] = fmaf(limn_kv_value(head, j->type, k), q[r * width + k], lanes[k % 16]);
      s[r][i] = sum_lanes_scalar(lanes);
    }
}

static void add_scalar(const limn_attention_job *j, const addition *a, int rows) {
  for (int r = 0; r < rows; r++)
    for (ptrdiff_t k = 0; k < j->head_size; k++) {
      float *y = a->y + r * a->width + k, sum = *y * a->factor[r];
      for (ptrdiff_t i = 0; i < a->count; i++)
        sum = fmaf(limn_kv_value(a->values + (size_t)i * j->position_bytes, j->type, k), a->s[r][i], sum);
      *y = sum;
    }
}

// MARK: Vectors

typedef float v8f __attribute__((vector_size(32)));
typedef float v4f __attribute__((vector_size(16)));

/// Adds up the lanes of each vector in the order of sum_lanes_scalar.
LIMN_INLINE v4f sum_lanes(const v16f v[SUMS]) {
  v8f half[4], pair[2];
  LIMN_UNROLL (int i = 0; i < 4; i++)
    half[i] = __builtin_shufflevector(v[i], v[i], 0, 1, 2, 3, 4, 5, 6, 7)
      + __builtin_shufflevector(v[i], v[i], 8, 9, 10, 11, 12, 13, 14, 15);
  // Adds neighbours within each half of a vector; results alternate between the two vectors.
  LIMN_UNROLL (int i = 0; i < 2; i++)
    pair[i] = __builtin_shufflevector(half[2 * i], half[2 * i + 1], 0, 2, 8, 10, 4, 6, 12, 14)
      + __builtin_shufflevector(half[2 * i], half[2 * i + 1], 1, 3, 9, 11, 5, 7, 13, 15);
  const v8f four = __builtin_shufflevector(pair[0], pair[1], 0, 2, 8, 10, 4, 6, 12, 14)
    + __builtin_shufflevector(pair[0], pair[1], 1, 3, 9, 11, 5, 7, 13, 15);
  return __builtin_shufflevector(four, four, 0, 1, 2, 3) + __builtin_shufflevector(four, four, 4, 5, 6, 7);
}

/// `rows` is 1, 2 or 4. SUMS / rows positions are done at once, so that there are SUMS sums.
LIMN_INLINE void score(
  const limn_attention_job *j, const limn_type type, const char *keys, ptrdiff_t count, const float *q, ptrdiff_t width,
  float (*s)[TILE], const int rows) {
  const int positions = SUMS / rows;
  const ptrdiff_t whole = j->head_size & ~(ptrdiff_t)15, rest = j->head_size - whole;
  for (ptrdiff_t i = 0; i < count; i += positions) {
    const char *head[SUMS];
    LIMN_UNROLL (int p = 0; p < positions; p++)
      head[p] = keys + (size_t)(i + p < count ? i + p : count - 1) * j->position_bytes;
    v16f sum[SUMS];
    LIMN_UNROLL (int n = 0; n < SUMS; n++) sum[n] = v_splat(0);
    for (ptrdiff_t k = 0; k < whole; k += 16)
      LIMN_UNROLL (int p = 0; p < positions; p++) {
        const v16f key = limn_kv_load(head[p], type, k, 16);
        LIMN_UNROLL (int r = 0; r < rows; r++)
          sum[r * positions + p] = v_fma(key, v_load(q + r * width + k), sum[r * positions + p]);
      }
    if (rest)
      LIMN_UNROLL (int p = 0; p < positions; p++) {
        const v16f key = limn_kv_load(head[p], type, whole, rest);
        LIMN_UNROLL (int r = 0; r < rows; r++)
          sum[r * positions + p] = v_fma(key, v_load(q + r * width + whole), sum[r * positions + p]);
      }
    const v4f four = sum_lanes(sum);
    // May write up to three scores past `count`: a tile has room for whole fours.
    LIMN_UNROLL (int r = 0; r < rows; r++)
      LIMN_UNROLL (int p = 0; p < positions; p++) s[r][i + p] = four[r * positions + p];
  }
}

/// `strips` strips of 16 columns from column k on; the last one has `left` columns.
LIMN_INLINE void add_strips(
  const limn_attention_job *j, const limn_type type, const addition a, ptrdiff_t k, ptrdiff_t left, const int strips,
  const int rows) {
  v16f sum[SUMS];
  LIMN_UNROLL (int r = 0; r < rows; r++)
    LIMN_UNROLL (int n = 0; n < strips; n++) sum[r * strips + n] = v_load(a.y + r * a.width + k + 16 * n) * a.factor[r];
  const char *values = a.values;
  for (ptrdiff_t i = 0; i < a.count; i++, values += j->position_bytes)
    LIMN_UNROLL (int n = 0; n < strips; n++) {
      const v16f value = limn_kv_load(values, type, k + 16 * n, n + 1 < strips ? 16 : left);
      LIMN_UNROLL (int r = 0; r < rows; r++)
        sum[r * strips + n] = v_fma(value, v_splat(a.s[r][i]), sum[r * strips + n]);
    }
  LIMN_UNROLL (int r = 0; r < rows; r++)
    LIMN_UNROLL (int n = 0; n < strips; n++) v_store(a.y + r * a.width + k + 16 * n, sum[r * strips + n]);
}

LIMN_INLINE void add(const limn_attention_job *j, const limn_type type, const addition a, const int rows) {
  const int strips = SUMS / rows;
  ptrdiff_t k = 0;
  for (; k + 16 * strips <= j->head_size; k += 16 * strips) add_strips(j, type, a, k, 16, strips, rows);
  for (; k + 16 <= j->head_size; k += 16) add_strips(j, type, a, k, 16, 1, rows);
  if (k < j->head_size) add_strips(j, type, a, k, j->head_size - k, 1, rows);
}

/// A separate loop for every type and number of rows.
#define LIMN_FOR_ROWS(function, type, ...) \
  if (rows == 4)                           \
    function(j, type, __VA_ARGS__, 4);     \
  else if (rows == 2)                      \
    function(j, type, __VA_ARGS__, 2);     \
  else                                     \
    function(j, type, __VA_ARGS__, 1);
#define LIMN_FOR_TYPES(function, ...)               \
  if (j->type == LIMN_F16) {                        \
    LIMN_FOR_ROWS(function, LIMN_F16, __VA_ARGS__)  \
  } else if (j->type == LIMN_Q8_0) {                \
    LIMN_FOR_ROWS(function, LIMN_Q8_0, __VA_ARGS__) \
  } else {                                          \
    LIMN_FOR_ROWS(function, LIMN_F32, __VA_ARGS__)  \
  }
LIMN_INLINE void score_body(
  const limn_attention_job *j, const char *keys, ptrdiff_t count, const float *q, ptrdiff_t width, float (*s)[TILE],
  int rows) {
  LIMN_FOR_TYPES(score, keys, count, q, width, s)
}
LIMN_INLINE void add_body(const limn_attention_job *j, const addition *a, int rows) { LIMN_FOR_TYPES(add, *a) }
LIMN_INSTANCES(
  score,
  (const limn_attention_job *j, const char *keys, ptrdiff_t count, const float *q, ptrdiff_t width, float (*s)[TILE],
   int rows),
  (j, keys, count, q, width, s, rows))
LIMN_INSTANCES(add, (const limn_attention_job *j, const addition *a, int rows), (j, a, rows))

// MARK: One item, and all of them

/// Row r is token r / group, head r % group.
LIMN_INLINE void attend(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, limn_soften *soften, score_rows *score,
  add_values *add) {
  const ptrdiff_t group = j->heads / j->kv_heads, end = j->first_position + j->tokens;
  for (ptrdiff_t r = 0; r < p->rows; r++) {
    float *q = p->q + r * p->width;
    memset(q, 0, (size_t)p->width * sizeof(float));
    memcpy(
      q, j->q + (r / group * j->heads + kv_head * group + r % group) * j->head_size,
      (size_t)j->head_size * sizeof(float));
    p->m[r] = -FLT_MAX;
    p->l[r] = 0;
  }
  memset(p->y, 0, (size_t)(p->rows * p->width) * sizeof(float));
  memset(p->s, 0, SUMS * sizeof *p->s);

  const ptrdiff_t first_seen = j->window ? j->first_position - j->window + 1 : 0;
  for (ptrdiff_t start = first_seen > 0 ? first_seen / TILE * TILE : 0; start < end; start += TILE) {
    const ptrdiff_t count = end - start < TILE ? end - start : TILE;
    const size_t place = (size_t)kv_head * j->head_bytes + (size_t)start * j->position_bytes;
    const char *keys = (const char *)j->keys + place, *values = (const char *)j->values + place;
    if (start + 2 * TILE <= end)
      for (ptrdiff_t i = 0; i < TILE; i++) limn_kv_fetch(j, keys + (size_t)i * j->position_bytes);
    for (ptrdiff_t row = 0; row < p->rows;) {
      const ptrdiff_t left = p->rows - row;
      const int rows = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      score(j, keys, count, p->q + row * p->width, p->width, p->s, rows);
      float factor[SUMS];
      for (int i = 0; i < rows; i++) {
        const ptrdiff_t position = j->first_position + (row + i) / group, high = position - start;
        const ptrdiff_t low = j->window ? position - j->window + 1 - start : 0;
        const ptrdiff_t from = low < 0 ? 0 : low, to = high < TILE ? high : TILE - 1;
        factor[i] = soften(p->s[i], j->scale, from < TILE ? from : TILE, to, p->m + row + i, p->l + row + i);
      }
      if (row == 0 && start + 2 * TILE <= end)
        for (ptrdiff_t i = 0; i < TILE; i++) limn_kv_fetch(j, values + (size_t)i * j->position_bytes);
      const addition weighted = {
        .values = values,
        .count = count,
        .s = (const float(*)[TILE])p->s,
        .factor = factor,
        .y = p->y + row * p->width,
        .width = p->width};
      add(j, &weighted, rows);
      row += rows;
    }
  }

  for (ptrdiff_t r = 0; r < p->rows; r++) {
    float *y = j->y + (r / group * j->heads + kv_head * group + r % group) * j->head_size;
    // Positive zeros only, as in attention.c.
    for (ptrdiff_t k = 0; k < j->head_size; k++) y[k] = p->y[r * p->width + k] / p->l[r] + 0.0f;
  }
}

LIMN_INLINE void attention_with(
  const limn_attention_job *j, ptrdiff_t begin, ptrdiff_t end, void *scratch, limn_soften *soften, score_rows *score,
  add_values *add) {
  parts p;
  lay_out(j, scratch, &p);
  for (ptrdiff_t kv_head = begin; kv_head < end; kv_head++) attend(j, &p, kv_head, soften, score, add);
}
static void attention_in_place_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  attention_with(job, begin, end, scratch, limn_soften_scalar, score_scalar, add_scalar);
}
#define LIMN_ATTENTION(isa)                                                                              \
  static void attention_in_place_##isa(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) { \
    attention_with(job, begin, end, scratch, limn_soften_vectors, score_##isa, add_##isa);               \
  }
#if defined(__x86_64__)
LIMN_TARGET_AVX2 LIMN_ATTENTION(avx2)
LIMN_TARGET_AVX512 LIMN_ATTENTION(avx512)
#elif defined(__aarch64__)
LIMN_ATTENTION(neon)
#endif

void limn_install_attention_in_place(limn_kernels *kernels) {
  kernels->attention_in_place = LIMN_PICK(kernels->isa, attention_in_place);
}
