/* The resolver: names known or asked for right now, each with the lookups that wait for it. Only
 * the owner's worker touches it; a lookup travels there as a post, back with its answer, and there
 * again to be freed, so that it has an owner also when who asked has stopped in the meantime. */
#include "server/net/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/list.h"
#include "proto/base/slice.h"
#include "proto/base/xalloc.h"

struct name {
    struct list link;
    struct list waiting; /* lookups */
    struct resolver *resolver;
    uv_getaddrinfo_t uv;
    bool asking;
    int64_t found_at; /* ticks */
    struct resolved found;
    char text[RESOLVE_NAME_MAX];
};

struct resolver {
    struct worker *owner;
    struct list names; /* newest last */
    size_t count;
    struct list lookups; /* all that came here, until they are back */
};

struct lookup {
    struct post post;
    struct list link; /* in the name's `waiting` */
    struct list all;  /* in the resolver's `lookups` */
    struct resolver *resolver;
    struct worker *home;
    void (*done)(void *owner, const struct resolved *found);
    void *waiter;
    bool abandoned;
    bool is_numeric; /* needs no resolver */
    struct resolved found;
    char name[RESOLVE_NAME_MAX];
};

struct resolver *resolver_new(struct worker *owner)
{
    struct resolver *r = xcalloc(sizeof *r);

    r->owner = owner;
    list_init(&r->names);
    list_init(&r->lookups);
    return r;
}

static void name_free(struct name *n)
{
    list_remove(&n->link);
    n->resolver->count--;
    free(n);
}

void resolver_free(struct resolver *r)
{
    if (!r) return;
    LIST_EACH(node, &r->names) name_free(LIST_ENTRY(node, struct name, link));
    for (struct list *l; (l = list_pop(&r->lookups));)
        free(LIST_ENTRY(l, struct lookup, all));
    free(r);
}

bool resolver_is_quiet(const struct resolver *r)
{
    for (const struct list *node = r->names.next; node != &r->names; node = node->next)
        if (CONTAINER_OF(node, const struct name, link)->asking) return false;
    return true;
}

static void on_back(struct post *p, struct worker *w)
{
    struct lookup *l = CONTAINER_OF(p, struct lookup, post);

    list_remove(&l->all);
    free(l);
}

static void on_answer_home(struct post *p, struct worker *w)
{
    struct lookup *l = CONTAINER_OF(p, struct lookup, post);

    if (!l->abandoned) l->done(l->waiter, &l->found);
    if (l->is_numeric) {
        free(l);
        return;
    }
    l->post.run = on_back;
    worker_post(l->resolver->owner, &l->post);
}

static void answer(struct lookup *l, const struct resolved *found)
{
    l->found = *found;
    l->post.run = on_answer_home;
    worker_post(l->home, &l->post);
}

static void take_addresses(struct resolved *out, const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; a && out->count < RESOLVE_ADDRESSES_MAX; a = a->ai_next) {
        const void *bytes =
            a->ai_family == AF_INET6
                ? (const void *)&((const struct sockaddr_in6 *)(const void *)a->ai_addr)->sin6_addr
                : (const void *)&((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr;
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
        if (inet_ntop(a->ai_family, bytes, out->addresses[out->count], INET6_ADDRSTRLEN))
            out->count++;
    }
}

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *list)
{
    struct name *n = CONTAINER_OF(uv, struct name, uv);

    n->asking = false;
    n->found = (struct resolved){0};
    n->found_at = worker_ticks(n->resolver->owner);
    if (status == 0) take_addresses(&n->found, list);
    if (n->found.count == 0)
        snprintf(n->found.why, sizeof n->found.why, "%s",
                 status ? uv_strerror(status) : "no address");
    uv_freeaddrinfo(list);
    for (struct list *l; (l = list_pop(&n->waiting));)
        answer(LIST_ENTRY(l, struct lookup, link), &n->found);
}

static struct name *find_name(struct resolver *r, const char *text)
{
    LIST_EACH(node, &r->names)
    {
        struct name *n = LIST_ENTRY(node, struct name, link);
        if (strcmp(n->text, text) == 0) return n;
    }
    return NULL;
}

/* The oldest name nobody asks for makes room. */
static void drop_oldest(struct resolver *r)
{
    LIST_EACH(node, &r->names)
    {
        struct name *n = LIST_ENTRY(node, struct name, link);
        if (n->asking) continue;
        name_free(n);
        return;
    }
}

static struct name *add_name(struct resolver *r, const char *text)
{
    struct name *n = xcalloc(sizeof *n);

    if (r->count >= RESOLVE_NAMES_MAX) drop_oldest(r);
    n->resolver = r;
    list_init(&n->waiting);
    snprintf(n->text, sizeof n->text, "%s", text);
    list_push(&r->names, &n->link);
    r->count++;
    return n;
}

static bool is_fresh(const struct resolver *r, const struct name *n)
{
    return n->found.count && worker_ticks(r->owner) - n->found_at < RESOLVE_KEEP_MS;
}

static void on_question(struct post *p, struct worker *w)
{
    struct lookup *l = CONTAINER_OF(p, struct lookup, post);
    struct resolver *r = l->resolver;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct name *n = find_name(r, l->name);

    list_push(&r->lookups, &l->all);
    if (!n) n = add_name(r, l->name);
    if (is_fresh(r, n)) {
        answer(l, &n->found);
        return;
    }
    list_push(&n->waiting, &l->link);
    if (n->asking) return;
    n->asking = true;
    if (uv_getaddrinfo(worker_loop(w), &n->uv, on_found, n->text, NULL, &hints) != 0) {
        n->uv.addrinfo = NULL;
        on_found(&n->uv, UV_EAI_FAIL, NULL);
    }
}

static bool is_numeric(const char *name)
{
    struct in6_addr bytes;

    return inet_pton(AF_INET, name, &bytes) == 1 || inet_pton(AF_INET6, name, &bytes) == 1;
}

struct lookup *lookup_start(struct resolver *r, struct worker *home, const char *name,
                            void (*done)(void *owner, const struct resolved *found), void *owner)
{
    struct lookup *l = xcalloc(sizeof *l);

    l->resolver = r;
    l->home = home;
    l->done = done;
    l->waiter = owner;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->is_numeric = is_numeric(name);
    if (l->is_numeric) {
        struct resolved found = {.count = 1};
        snprintf(found.addresses[0], sizeof found.addresses[0], "%s", name);
        answer(l, &found);
        return l;
    }
    l->post.run = on_question;
    worker_post(r->owner, &l->post);
    return l;
}

void lookup_abandon(struct lookup *l) { l->abandoned = true; }
