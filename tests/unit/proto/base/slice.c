#include "proto/base/slice.h"

#include <criterion/criterion.h>

#include "proto/base/list.h"

Test(slice, absent_is_not_empty)
{
    cr_expect(slice_is_none(SLICE_NONE) && slice_is_none(slice_text(NULL)));
    cr_expect(!slice_is_none(SLICE("")));
    cr_expect(slice_eq(SLICE_NONE, SLICE("")), "though both hold no byte");
}

Test(slice, is_cut_to_what_there_is)
{
    cr_expect(slice_is(slice_sub(SLICE("hello"), 1, 3), "el"));
    cr_expect(slice_is(slice_sub(SLICE("hello"), 3, 99), "lo"));
    cr_expect(slice_is(slice_sub(SLICE("hello"), 99, 3), ""));
    cr_expect(slice_is(slice_from(SLICE("hello"), 5), ""));
    cr_expect(slice_is(slice_from(SLICE("hello"), SIZE_MAX), ""));
}

Test(slice, compares_bytewise_and_shorter_first)
{
    static const struct {
        struct slice a, b;
        int order;
    } rows[] = {
        {SLICE("a"), SLICE("b"), -1},   {SLICE("a"), SLICE("aa"), -1}, {SLICE("a"), SLICE("a"), 0},
        {SLICE("\xff"), SLICE("a"), 1}, {SLICE(""), SLICE("a"), -1},   {SLICE(""), SLICE(""), 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int order = slice_cmp(rows[i].a, rows[i].b);
        cr_expect_eq((order > 0) - (order < 0), rows[i].order, "row %zu", i);
    }
    cr_expect(slice_starts_with(SLICE("hello"), SLICE("he")));
    cr_expect(slice_starts_with(SLICE("hello"), SLICE("")));
    cr_expect(!slice_starts_with(SLICE("he"), SLICE("hello")));
}

Test(slice, splits_until_it_is_used_up)
{
    struct slice rest = SLICE("a,,b,"), part;
    size_t n = 0;
    static const char *const parts[] = {"a", "", "b", ""};

    cr_expect_eq(slice_find(rest, ','), 1u);
    cr_expect_eq(slice_find(rest, 'x'), rest.len);
    while (n < 4 && slice_split(&rest, ',', &part))
        cr_expect(slice_is(part, parts[n++]));
    cr_expect_eq(n, 4u);
    cr_expect(!slice_split(&rest, ',', &part));
    rest = SLICE("");
    cr_expect(slice_split(&rest, ',', &part) && slice_is(part, ""), "one item, an empty one");
    cr_expect(!slice_split(&rest, ',', &part));
}

struct item {
    struct list link;
    int number;
};

static int first(struct list *head) { return LIST_ENTRY(head->next, struct item, link)->number; }

Test(list, keeps_order_and_lets_nodes_leave)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list head, other;
    int seen = 0;

    list_init(&head);
    list_init(&other);
    cr_expect(list_empty(&head) && !list_pop(&head));
    list_push(&head, &items[1].link);
    list_push(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    list_push(&other, &items[3].link);
    list_splice(&head, &other);
    cr_expect(list_empty(&other));
    list_splice(&head, &other);
    LIST_EACH(node, &head)
    {
        cr_expect_eq(LIST_ENTRY(node, struct item, link)->number, seen);
        if (seen++ == 1) list_remove(node);
    }
    cr_expect_eq(seen, 4);
    list_remove(&items[1].link); /* again: harmless */
    cr_expect_eq(LIST_ENTRY(list_pop(&head), struct item, link)->number, 0);
    cr_expect_eq(first(&head), 2);
}
