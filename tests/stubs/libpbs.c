/* A PBS library that answers from files, for tests: what it is asked goes to $STUB/asked, jobs are in $STUB/jobs
 * (`Job Id: ID`, then `name=value`, between unit separators), errors in $STUB/errors (`FUNCTION NUMBER TEXT`).
 *
 * It takes and gives memory as the real one does: values of a submission are freed and replaced, answers are malloc'ed.
 * The structures are those of pbs_ifl(3B). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attrl {
  struct attrl *next;
  char *name;
  char *resource;
  char *value;
  int op;
};

struct batch_status {
  struct batch_status *next;
  char *name;
  struct attrl *attribs;
  char *text;
};

struct fault {
  struct attrl *attribute;
  int code;
  char *text;
};

struct faults {
  int count;
  struct fault *fault;
};

static int number;
static char text[1000];
static struct faults faults;

int *__pbs_errno_location(void) { return &number; }
char *pbs_geterrmsg(int connection) { return connection == 7 && *text ? text : NULL; }
char *pbse_to_txt(int code) { return code == 15001 ? "Unknown Job Id" : NULL; }
char *pbs_default(void) { return "pbshead"; }
struct faults *pbs_get_attributes_in_error(int connection) { return connection == 7 && faults.count ? &faults : NULL; }

static FILE *open_file(const char *name, const char *mode) {
  char path[4000];
  snprintf(path, sizeof path, "%s/%s", getenv("STUB"), name);
  return fopen(path, mode);
}

static void asked(const char *format, ...) {
  va_list words;
  FILE *file = open_file("asked", "a");
  va_start(words, format);
  vfprintf(file, format, words);
  va_end(words);
  fclose(file);
}

/* Whether this call shall fail; a number of -1 is a crash. */
static int fails(const char *function) {
  char line[1000], name[100], words[1000];
  int code;
  FILE *file = open_file("errors", "r");
  number = 0;
  *text = 0;
  while (file && fgets(line, sizeof line, file)) {
    *words = 0;
    if (sscanf(line, "%99s %d %999[^\n]", name, &code, words) >= 2 && !strcmp(name, function)) {
      number = code;
      strcpy(text, words);
    }
  }
  if (file) fclose(file);
  if (number == -1) abort();
  return number;
}

int pbs_connect(char *server) {
  asked("connect %s\n", server ? server : "-");
  return fails("connect") ? -1 : 7;
}

int pbs_disconnect(int connection) {
  asked("disconnect %d\n", connection);
  return 0;
}

static int wanted(struct attrl *list, const char *name) {
  if (!list) return 1;
  for (; list; list = list->next)
    if (!strcmp(list->name, name)) return 1;
  return 0;
}

static struct attrl *attribute(char *pair, struct attrl *list) {
  char *value = strchr(pair, '='), *dot = strchr(pair, '.');
  struct attrl *made;
  *value++ = 0;
  if (dot && dot < value) *dot++ = 0;
  else dot = NULL;
  if (!wanted(list, pair)) return NULL;
  made = calloc(1, sizeof *made);
  made->name = strdup(pair);
  made->resource = dot ? strdup(dot) : NULL;
  made->value = *value ? strdup(value) : NULL;
  return made;
}

static struct batch_status *job(char *line, struct attrl *list) {
  struct batch_status *made = calloc(1, sizeof *made);
  struct attrl **last = &made->attribs;
  char *part = strtok(line, "\x1f\n");
  made->name = strdup(part + strlen("Job Id: "));
  while ((part = strtok(NULL, "\x1f\n")))
    if ((*last = attribute(part, list))) last = &(*last)->next;
  return made;
}

struct batch_status *pbs_statjob(int connection, char *ids, struct attrl *list, char *extend) {
  static char line[100000];
  struct batch_status *first = NULL, **last = &first;
  FILE *file = open_file("jobs", "r");
  asked("statjob %d %s %s %s\n", connection, ids, list ? "some" : "all", extend ? extend : "-");
  if (fails(list ? "statjob" : "statjob_all")) return NULL;
  while (file && fgets(line, sizeof line, file)) {
    *last = job(line, list);
    last = &(*last)->next;
  }
  if (file) fclose(file);
  return first;
}

void pbs_statfree(struct batch_status *status) {
  struct batch_status *next_status;
  struct attrl *one, *next;
  for (; status; status = next_status) {
    next_status = status->next;
    for (one = status->attribs; one; one = next) {
      next = one->next;
      free(one->name);
      free(one->resource);
      free(one->value);
      memset(one, 0x5a, sizeof *one);
      free(one);
    }
    free(status->name);
    memset(status, 0x5a, sizeof *status);
    free(status);
  }
}

struct batch_status *pbs_statserver(int connection, struct attrl *list, char *extend) {
  struct batch_status *made;
  char *given = getenv("STUB_QSUB_ARGUMENTS"), pair[1000];
  asked("statserver %d %s %s\n", connection, list->name, extend ? extend : "-");
  if (fails("statserver")) return NULL;
  made = calloc(1, sizeof *made);
  made->name = strdup("pbshead");
  snprintf(pair, sizeof pair, "default_qsub_arguments=%s", given ? given : "");
  made->attribs = given ? attribute(pair, NULL) : NULL;
  return made;
}

char *pbs_submit(int connection, struct attrl *list, char *script, char *queue, char *extend) {
  struct attrl *one;
  char host[4000];
  static struct fault fault;
  asked("submit %d %s %s %s\n", connection, script, *queue ? queue : "-", extend ? extend : "-");
  for (one = list; one; one = one->next) {
    asked("  %s %s %s\n", one->name, one->resource ? one->resource : "-", one->value);
    /* As the checks of the real one do it, paths above all. */
    snprintf(host, sizeof host, "pbshead:%s", one->value);
    free(one->value);
    one->value = strdup(host);
    if (fails(one->name)) {
      fault = (struct fault){one, number, text};
      faults = (struct faults){1, &fault};
      return NULL;
    }
  }
  return fails("submit") ? NULL : strdup("42.pbshead");
}

int pbs_deljob(int connection, char *id, char *extend) {
  asked("deljob %d %s %s\n", connection, id, extend ? extend : "-");
  return fails(id);
}
