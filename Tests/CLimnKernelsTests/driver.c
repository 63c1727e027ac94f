// Compares every kernel of this machine's instruction sets with the scalar reference, on random and edge-case shapes.
//
// It is a program of its own, so that it can be built with sanitizers (`make sanitize`) and for other processors
// (`make test-x86`, `make test-arm`). Each array is allocated separately and has exactly the size that its shape needs,
// so the address sanitizer sees every access beyond it. What the library promises to the bit is compared to the bit.
#define _POSIX_C_SOURCE 200809L  // posix_memalign
#include "limn_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures, comparisons;

// MARK: Data

static uint64_t state = 1;
static uint64_t next(void) {  // SplitMix64, https://prng.di.unimi.it/splitmix64.c (public domain)
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
static float uniform(void) { return (float)(next() >> 40) * 0x1p-23f - 1; }

static void *memory(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0) abort();
  return p;
}
static float *floats(size_t count, float range) {
  float *p = memory(count * sizeof(float));
  for (size_t i = 0; i < count; i++) p[i] = range * uniform();
  return p;
}

enum { RANDOM, BROKEN, ZEROS, ONES, LARGEST, SMALLEST, KINDS };

/// Where a block keeps its halves: d, and m or dmin (the same place if it has none).
static const struct {
  limn_type type;
  size_t d, m;
} halves[] = {
  {LIMN_Q4_0, 0, 0},   {LIMN_Q4_1, 0, 2},     {LIMN_Q5_0, 0, 0}, {LIMN_Q5_1, 0, 2}, {LIMN_Q8_0, 0, 0},
  {LIMN_Q2_K, 80, 82}, {LIMN_Q3_K, 108, 108}, {LIMN_Q4_K, 0, 2}, {LIMN_Q5_K, 0, 2}, {LIMN_Q6_K, 208, 208},
};

/// Weights as bytes: random ones (RANDOM; BROKEN, which breaks activations), all zeros, or all bits set, which makes
/// the scales NaN. LARGEST and SMALLEST are all bits set and no bit set, with ordinary numbers as scales. Plain floats
/// are random numbers.
static uint8_t *weights(limn_type type, size_t bytes, int kind) {
  uint8_t *p = memory(bytes);
  for (size_t i = 0; i < bytes; i++)
    p[i] = kind <= BROKEN ? (uint8_t)next() : kind == ZEROS || kind == SMALLEST ? 0 : 255;
  for (size_t i = 0; kind >= LARGEST && i < sizeof halves / sizeof *halves; i++)
    for (size_t at = 0; halves[i].type == type && at < bytes; at += (size_t)limn_format_of(type)->bytes) {
      p[at + halves[i].d] = p[at + halves[i].m] = 0;
      p[at + halves[i].d + 1] = p[at + halves[i].m + 1] = 0x3c;                 // 1
      if (type == LIMN_Q6_K) memset(p + at + 192, kind == LARGEST ? 127 : 128, 16);  // the signed scales
    }
  if (kind <= BROKEN && type == LIMN_F32)
    for (size_t i = 0; i < bytes / 4; i++) ((float *)(void *)p)[i] = uniform();
  // Scales of 8 bits of exponent: bfloat16 products, which round in their own order, would overflow in another place.
  for (size_t at = 3; kind <= BROKEN && type >= LIMN_NF4 && at < bytes; at += (size_t)limn_format_of(type)->bytes)
    p[at] = (uint8_t)((p[at] & 0x83) | 0x34);
  for (size_t at = 0; kind <= BROKEN && type == LIMN_MXFP4 && at < bytes; at += (size_t)limn_format_of(type)->bytes)
    p[at] &= 127;
  if (kind <= BROKEN && (type == LIMN_F16 || type == LIMN_BF16))  // no infinities, and nothing that overflows a sum
    for (size_t i = 1; i < bytes; i += 2) p[i] = (uint8_t)((p[i] & 0x83) | 0x34);
  return p;
}

/// Equal to the bit, or both NaN: which of the NaN patterns it is depends on the processor.
static int same(float a, float b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

/// budget: the largest difference, in units of the root mean square of the reference; 0: the same to the bit.
static void compare(
  const char *what, limn_isa isa, const float *a, const float *reference, size_t count, double budget) {
  double square = 0;
  comparisons++;
  for (size_t i = 0; i < count; i++) square += isfinite(reference[i]) ? (double)reference[i] * reference[i] : 0;
  const double unit = sqrt(square / (double)(count ? count : 1));
  for (size_t i = 0; i < count; i++) {
    if (same(a[i], reference[i]) || fabs((double)a[i] - reference[i]) < budget * unit) continue;
    if (budget > 0 && !isfinite(a[i]) && !isfinite(reference[i])) continue;
    printf("%s, %s: value %zu of %zu is %g, not %g\n", what, limn_isa_name(isa), i, count, a[i], reference[i]);
    failures++;
    return;
  }
}

// MARK: Weight formats

/// Rows of floats may have any length; all others consist of whole blocks.
static int smallest_columns(limn_type type) { return limn_format_of(type)->elements; }

static void run(limn_kernel *kernel, const void *job, ptrdiff_t items, size_t scratch) {
  void *own = memory(scratch);
  kernel(job, 0, items, own);
  free(own);
}

static float *linear(
  const limn_kernels *kernels, const limn_recipe *recipe, const uint8_t *weight, size_t row_bytes, ptrdiff_t rows,
  ptrdiff_t columns, const float *x, ptrdiff_t tokens, const float *bias, int adding) {
  const size_t blocks = (size_t)(columns + LIMN_BLOCK - 1) / LIMN_BLOCK;
  const ptrdiff_t panels = (rows + LIMN_PANEL_ROWS - 1) / LIMN_PANEL_ROWS, group = 1 + (ptrdiff_t)(next() % 3);
  limn_prepare_job prepare = {
    .recipe = recipe,
    .x = x,
    .columns = columns,
    .prepared = memory((size_t)((tokens + 15) & ~15) * blocks * recipe->x_bytes),
    .prepared_stride = blocks * recipe->x_bytes};
  run(kernels->prepare, &prepare, tokens, 0);
  limn_linear_job job = {
    .recipe = recipe,
    .weight = weight,
    .row_bytes = row_bytes,
    .rows = rows,
    .columns = columns,
    .prepared = prepare.prepared,
    .prepared_stride = prepare.prepared_stride,
    .tokens = tokens,
    .panels = group < panels ? group : panels,
    .token_parts = 1 + (ptrdiff_t)(next() % 2),
    .column_parts = 1 + (ptrdiff_t)(next() % blocks),
    .bias = bias,
    .y = memory((size_t)(tokens * rows) * sizeof(float)),
    .adding = adding};
  for (ptrdiff_t i = 0; i < tokens * rows; i++) job.y[i] = adding ? (float)i : NAN;
  // Divided as the library does it, or in any other way: the bits are the same.
  const ptrdiff_t items = next() % 2 ? limn_plan_linear(&job, 1 + (ptrdiff_t)(next() % 3))
                                     : (panels + job.panels - 1) / job.panels * job.token_parts;
  run(kernels->linear, &job, items, limn_linear_scratch(&job));
  free(prepare.prepared);
  return job.y;
}

static void test_linear(
  const limn_kernels *scalar, const limn_kernels *vector, limn_type type, limn_arithmetic arithmetic, ptrdiff_t rows,
  ptrdiff_t columns, ptrdiff_t tokens, int kind) {
  limn_recipe reference, recipe;
  const int has_reference = limn_recipe_init(&reference, LIMN_SCALAR, type, arithmetic);
  if (!limn_recipe_init(&recipe, vector->isa, type, arithmetic) || !has_reference) return;
  const size_t row_bytes = recipe.weight_bytes * (size_t)columns / LIMN_BLOCK;
  uint8_t *weight = weights(type, row_bytes * (size_t)rows, kind);
  float *x = floats((size_t)(tokens * columns), 3), *bias = next() % 2 ? floats((size_t)rows, 1) : NULL;
  // The largest sums: signs change every 64 columns only.
  for (ptrdiff_t k = 0; kind > BROKEN && k < tokens * columns; k++) x[k] = kind == ZEROS ? 0 : k / 64 % 2 ? 1 : -1;
  // A value of the first token is NaN, one of the last token is infinite: neither may pass as good.
  if (kind == BROKEN) x[tokens * columns - 1 - (ptrdiff_t)(next() % (uint64_t)columns)] = INFINITY;
  if (kind == BROKEN) x[next() % (uint64_t)columns] = NAN;
  const int adding = (int)(next() % 2);
  char what[100];
  snprintf(
    what, sizeof what, "%s, arithmetic %d, kind %d, [%td, %td] × %td tokens", limn_format_of(type)->name,
    (int)arithmetic, kind, rows, columns, tokens);

  float *expected = linear(scalar, &reference, weight, row_bytes, rows, columns, x, tokens, bias, adding);
  float *found = linear(vector, &recipe, weight, row_bytes, rows, columns, x, tokens, bias, adding);
  // The processor rounds bfloat16 products in its own way. Q6_K's offset may be subtracted before the product with
  // floats instead of after it (1e-5 where a sum is a small difference of large ones); that recipe is recognised by its
  // product, which no other format shares.
  limn_recipe other;
  const int is_centred = type == LIMN_Q6_K && arithmetic == LIMN_INT8
    && limn_recipe_init(&other, vector->isa, LIMN_Q2_K, arithmetic) && recipe.multiply != other.multiply;
  compare(
    what, vector->isa, found, expected, (size_t)(tokens * rows), arithmetic == LIMN_BFLOAT16 || is_centred ? 1e-5 : 0);
  for (ptrdiff_t r = 0; kind == BROKEN && r < rows; r++) {
    comparisons++;
    if (!isfinite(found[r]) && !isfinite(found[(tokens - 1) * rows + r])) continue;
    printf("%s, %s: row %td of broken activations is finite\n", what, limn_isa_name(vector->isa), r);
    failures++;
    break;
  }

  int32_t *ids = memory((size_t)rows * sizeof *ids);
  for (ptrdiff_t i = 0; i < rows; i++) ids[i] = (int32_t)(rows - 1 - i);
  float *values = memory((size_t)(rows * columns) * sizeof(float)), *row = memory((size_t)columns * sizeof(float));
  const limn_gather_job gather = {
    .recipe = &recipe, .table = weight, .row_bytes = row_bytes, .columns = columns, .ids = ids, .y = values};
  run(vector->gather, &gather, rows, 0);
  for (ptrdiff_t i = 0; i < rows; i++) {
    reference.dequantize(weight + (size_t)ids[i] * row_bytes, row, (int)columns);
    compare(what, vector->isa, values + i * columns, row, (size_t)columns, 0);
  }
  free(weight), free(x), free(bias), free(expected), free(found), free(ids), free(values), free(row);
}

static void test_weights(const limn_kernels *scalar, const limn_kernels *vector, int thorough) {
  static const ptrdiff_t rows[] = {1, 16, 37, 5, 48}, tokens[] = {1, 13, 3, 12, 70, 6, 2};
  for (limn_type type = 0; type < LIMN_TYPES; type++)
    for (limn_arithmetic arithmetic = 0; arithmetic < LIMN_ARITHMETICS; arithmetic++)
      for (int kind = 0; kind < KINDS; kind++) {
        // A few tokens, whose products take their own path: several blocks of columns at a time, one, and a part of one. The
        // last widths fill a row's memory up to its last blocks.
        static const ptrdiff_t wide[] = {1024, 256, 2304, 1280, 512, 3840, 3584}, part[] = {0, 64, 128, 192, 0, 192, 64};
        limn_recipe recipe;
        const int few = limn_recipe_init(&recipe, vector->isa, type, arithmetic) ? recipe.few_tokens : 0;
        for (ptrdiff_t count = 1; count <= few || count == 1; count++)
          for (int i = 0; i < 7; i++)
            test_linear(
              scalar, vector, type, arithmetic, rows[(i + 1) % 5],
              wide[i] + (smallest_columns(type) <= 64 ? part[i] : 0), count, kind);
        for (int i = 0; i < (thorough ? 7 : 3); i++) {
          const int least = smallest_columns(type);
          const ptrdiff_t columns[] = {
            256, 512, least, 3 * least, least == 256 ? 256 : 256 + least, least == 256 ? 768 : 512 - least, 1024};
          test_linear(scalar, vector, type, arithmetic, rows[i % 5], columns[i], tokens[i], kind);
          test_linear(
            scalar, vector, type, arithmetic, rows[(i + 2) % 5], columns[(i + 1) % 7], tokens[(i + 3) % 7], kind);
        }
      }
}

// MARK: The other operations

static void test_norms(const limn_kernels *scalar, const limn_kernels *vector) {
  for (ptrdiff_t width = 1; width < 70; width += width < 18 ? 1 : 17) {
    float *x = floats((size_t)(3 * width), 4), *weight = floats((size_t)width, 1), *bias = floats((size_t)width, 1);
    float *a = memory((size_t)(3 * width) * sizeof(float)), *b = memory((size_t)(3 * width) * sizeof(float));
    limn_norm_job job = {.x = x, .weight = weight, .y = a, .width = width, .epsilon = 1e-5f};
    limn_norm_job reference = job;
    reference.y = b;
    run(vector->rms_norm, &job, 3, 0), run(scalar->rms_norm, &reference, 3, 0);
    compare("RMSNorm", vector->isa, a, b, (size_t)(3 * width), 1e-5);
    job.bias = reference.bias = bias;
    run(vector->layer_norm, &job, 3, 0), run(scalar->layer_norm, &reference, 3, 0);
    compare("LayerNorm", vector->isa, a, b, (size_t)(3 * width), 1e-5);
    free(x), free(weight), free(bias), free(a), free(b);
  }
}

static void test_rope(const limn_kernels *scalar, const limn_kernels *vector) {
  for (ptrdiff_t size = 2; size <= 80; size += 26)
    for (int adjacent = 0; adjacent < 2; adjacent++) {
      const size_t count = (size_t)(5 * 3 * size), half = (size_t)(5 * size / 2);
      float *a = floats(count, 2), *b = memory(count * sizeof(float)), *cosines = floats(half, 1),
            *sines = floats(half, 1);
      memcpy(b, a, count * sizeof(float));
      limn_rope_job job = {
        .x = a,
        .heads = 3,
        .head_size = size,
        .dimensions = size / 4 * 2 ? size / 4 * 2 : 2,
        .cosines = cosines,
        .sines = sines,
        .adjacent = adjacent};
      run(vector->rope, &job, 5, 0);
      job.x = b;
      run(scalar->rope, &job, 5, 0);
      compare("RoPE", vector->isa, a, b, count, 0);
      free(a), free(b), free(cosines), free(sines);
    }
}

/// Keys and values go through a cache, so that storing is tested as well. `in_place`: compute only this many of the
/// last queries, with the kernel for decoding; 0: all, with the other one.
static float *attention(
  const limn_kernels *kernels, limn_arithmetic arithmetic, const float *q, float *k, float *v, ptrdiff_t tokens,
  ptrdiff_t heads, ptrdiff_t kv_heads, ptrdiff_t size, limn_type type, ptrdiff_t window, int causal,
  ptrdiff_t in_place) {
  const size_t position = type == LIMN_Q8_0 ? (size_t)(size + 31) / 32 * 34 : (size_t)size * (type == LIMN_F16 ? 2 : 4);
  limn_recipe recipe;
  if (!limn_recipe_init(&recipe, kernels->isa, LIMN_F32, arithmetic)) abort();
  char *keys = memory((size_t)(tokens * kv_heads) * position), *values = memory((size_t)(tokens * kv_heads) * position);
  limn_store_job store = {
    .x = k,
    .cache = keys,
    .type = type,
    .position_bytes = position,
    .head_bytes = (size_t)tokens * position,
    .heads = kv_heads,
    .head_size = size};
  run(kernels->store, &store, tokens, 0);
  store.x = v, store.cache = values;
  run(kernels->store, &store, tokens, 0);
  limn_attention_job job = {
    .recipe = &recipe,
    .unpack = arithmetic == LIMN_BFLOAT16 ? kernels->unpack_bfloat16 : kernels->unpack_float32,
    .q = q,
    .keys = keys,
    .values = values,
    .type = type,
    .position_bytes = position,
    .head_bytes = (size_t)tokens * position,
    .causal = causal,
    .tokens = tokens,
    .heads = heads,
    .kv_heads = kv_heads,
    .head_size = size,
    .positions = causal ? 0 : tokens,
    .window = window,
    .block_tokens = 12,
    .scale = 1 / sqrtf((float)size),
    .y = memory((size_t)(tokens * heads * size) * sizeof(float))};
  if (in_place) {
    job.tokens = in_place;
    job.first_position = tokens - in_place;
    job.q += job.first_position * heads * size;
    run(kernels->attention_in_place, &job, kv_heads, limn_attention_in_place_scratch(&job));
  } else {
    run(kernels->attention, &job, (tokens + 11) / 12 * kv_heads, limn_attention_scratch(&job));
  }
  free(keys), free(values);
  return job.y;
}

static void expect_none(int is_broken, limn_isa isa, float result) {
  comparisons++;
  if (!is_broken || !isfinite(result)) return;
  printf("%s: attention to a NaN key gives a finite result\n", limn_isa_name(isa));
  failures++;
}

static void test_attention(const limn_kernels *scalar, const limn_kernels *vector) {
  static const ptrdiff_t shapes[][5] = {
    // tokens, heads, kv_heads, size, window
    {1, 1, 1, 8, 0}, {70, 4, 2, 10, 0}, {64, 2, 2, 64, 0}, {130, 3, 1, 24, 9}, {65, 2, 1, 80, 64}, {13, 5, 5, 1, 0},
  };
  static const limn_type types[] = {LIMN_F32, LIMN_F16, LIMN_Q8_0};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int t = 0; t < 3; t++)
      for (int variant = 0; variant < 4; variant++) {
        const int causal = variant % 2, is_broken = variant / 2;
        const ptrdiff_t tokens = shapes[i][0], heads = shapes[i][1], kv_heads = shapes[i][2], size = shapes[i][3];
        const ptrdiff_t window = shapes[i][4];
        float *q = floats((size_t)(tokens * heads * size), 2);
        float *k = floats((size_t)(tokens * kv_heads * size), 2), *v = floats((size_t)(tokens * kv_heads * size), 2);
        // The last position's key is NaN: a query that sees it must have no finite result.
        if (is_broken) k[(tokens - 1) * kv_heads * size] = NAN;
        float *b = attention(scalar, LIMN_FLOAT32, q, k, v, tokens, heads, kv_heads, size, types[t], window, causal, 0);
        float *a = attention(vector, LIMN_FLOAT32, q, k, v, tokens, heads, kv_heads, size, types[t], window, causal, 0);
        compare(causal ? "causal attention" : "attention", vector->isa, a, b, (size_t)(tokens * heads * size), 1e-5);
        expect_none(is_broken, vector->isa, a[(tokens - 1) * heads * size]);
        free(a);
        if (vector->unpack_bfloat16) {
          // q, k, p and v have 8 bits of fraction each.
          a = attention(vector, LIMN_BFLOAT16, q, k, v, tokens, heads, kv_heads, size, types[t], window, causal, 0);
          compare("attention in bfloat16", vector->isa, a, b, (size_t)(tokens * heads * size), 0.1);
          expect_none(is_broken, vector->isa, a[(tokens - 1) * heads * size]);
          free(a);
        }
        // As in decoding. The reference is the scalar kernel of the other way, for the scalar loops as well.
        for (ptrdiff_t in_place = 1; causal && in_place <= 9 && in_place <= tokens; in_place += 4) {
          const size_t count = (size_t)(in_place * heads * size), before = (size_t)((tokens - in_place) * heads * size);
          a = attention(vector, LIMN_FLOAT32, q, k, v, tokens, heads, kv_heads, size, types[t], window, 1, in_place);
          compare("attention in place", vector->isa, a, b + before, count, 1e-5);
          float *alone = attention(
            vector, LIMN_FLOAT32, q, k, v, tokens, heads, kv_heads, size, types[t], window, 1, 1);
          const size_t last = (size_t)(heads * size);
          compare("attention in place, alone", vector->isa, alone, a + count - last, last, 0);
          free(a), free(alone);
        }
        free(q), free(k), free(v), free(b);
      }
}

static void test_elements(const limn_kernels *scalar, const limn_kernels *vector) {
  limn_kernel *const kernels[][2] = {
    {vector->gelu_erf, scalar->gelu_erf},
    {vector->gelu_tanh, scalar->gelu_tanh},
    {vector->gelu_quick, scalar->gelu_quick},
    {vector->silu_multiply, scalar->silu_multiply},
    {vector->add, scalar->add}};
  for (size_t count = 1; count < 50; count += count < 18 ? 1 : 15)
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
      float *a = floats(count, 9), *b = memory(count * sizeof(float)), *other = floats(count, 2);
      memcpy(b, a, count * sizeof(float));
      a[0] = b[0] = count % 2 ? -200 : 200;
      // Errors are relative to the largest value, which must not be one that the function all but erases.
      if (count > 1) a[1] = b[1] = 1;
      run(kernels[i][0], &(limn_elements_job){.x = a, .other = other}, (ptrdiff_t)count, 0);
      run(kernels[i][1], &(limn_elements_job){.x = b, .other = other}, (ptrdiff_t)count, 0);
      compare("an element's function", vector->isa, a, b, count, 2e-6);
      free(a), free(b), free(other);
    }
  // The extremes of float32, each by itself: the largest would set the scale for the others.
  static const float ends[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 2e19f, -2e19f, 1e-40f, -1e-40f};
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
      float a = ends[k], b = a, other = 1;
      run(kernels[i][0], &(limn_elements_job){.x = &a, .other = &other}, 1, 0);
      run(kernels[i][1], &(limn_elements_job){.x = &b, .other = &other}, 1, 0);
      compare("an element's function at its ends", vector->isa, &a, &b, 1, 2e-6);
    }
}

static void test_ceilings(const limn_kernels *kernels) {
  float one = 1;
  void *bytes = memory(LIMN_READ_ITEM);
  memset(bytes, 1, LIMN_READ_ITEM);
  run(kernels->read, bytes, 1, LIMN_MEASURE_SCRATCH);
  run(kernels->multiply_16, &one, 1, LIMN_MEASURE_SCRATCH);
  run(kernels->multiply_8, &one, 1, LIMN_MEASURE_SCRATCH);
  free(bytes);
}

/// With an argument, tests all shapes.
int main(int count, char **arguments) {
  (void)arguments;
  limn_kernels scalar;
  limn_kernels_init(&scalar, LIMN_SCALAR);
  for (limn_isa isa = LIMN_SCALAR; isa <= LIMN_AVX512; isa++) {
    limn_kernels vector;
    if (!limn_kernels_init(&vector, isa)) continue;
    int integers = 0;
    for (limn_type type = 0; type < LIMN_TYPES; type++) {
      limn_recipe recipe;
      integers += limn_recipe_init(&recipe, isa, type, LIMN_INT8);
    }
    const int before = comparisons;
    test_weights(&scalar, &vector, count > 1);
    test_norms(&scalar, &vector);
    test_rope(&scalar, &vector);
    test_attention(&scalar, &vector);
    test_elements(&scalar, &vector);
    test_ceilings(&vector);
    printf(
      "%s: %d comparisons, %d weight types with integer products\n", limn_isa_name(isa), comparisons - before,
      integers);
  }
  if (failures) printf("%d of %d comparisons failed\n", failures, comparisons);
  return failures != 0;
}
