/* metrics.jsonl -> metrics.svg. */
#ifndef RLM_TRAIN_JOURNAL_PLOT_H
#define RLM_TRAIN_JOURNAL_PLOT_H

/* Line chart of "loss" and of every key that begins with "val", over steps. A plot that cannot be
 * written is left out: it is derived from the journal and never stops a run. */
void rlm_journal_plot(const char *jsonl_path, const char *svg_path);

#endif
