#include "workers/operation.h"

#include "workers/operations/operations.h"

const struct operation operations[] = {
    {.name = "vector_operations", .run = operation_vector_operations},
    {.name = "json_parse", .run = operation_json_parse},
    {.name = "json_stringify", .run = operation_json_stringify},
    {.name = "json_query", .run = operation_json_query},
    {.name = "text_analysis", .run = operation_text_analysis, .needs_lua = true},
    {.name = "aggregate", .run = operation_aggregate, .needs_lua = true},
    {.name = "hash", .run = operation_hash},
    {.name = "compress", .run = operation_compress},
    {.name = "decompress", .run = operation_decompress},
    {.name = "sort", .run = operation_sort},
    {.name = "regex_extract", .run = operation_regex_extract},
    {.name = NULL},
};

const struct operation *operation_find(struct slice name)
{
    for (const struct operation *operation = operations; operation->name; operation++)
        if (slice_equal(name, slice_from_string(operation->name)))
            return operation;
    return NULL;
}
