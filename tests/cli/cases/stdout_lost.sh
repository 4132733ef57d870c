# stdout: nothing
# What stdout loses is a failure, whatever was asked for.
for line in --help --version help "help extend" "generate --help" "generate --print-config" manual "completion bash" info; do
  # shellcheck disable=SC2086
  $reelm $line >/dev/full 2>err
  code=$?
  [ $code -eq 6 ] && [ "$(grep -c '' err)" -eq 1 ] || echo "$line: $code"
done
