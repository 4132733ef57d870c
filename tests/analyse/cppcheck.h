#define cJSON_ArrayForEach(e, a) for (e = (a)->child; e; e = e->next) /* for cppcheck */
