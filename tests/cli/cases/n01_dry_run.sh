# stdout: *"video_tokens":*1280*"estimated_s":*"estimated_peak_bytes":*
# Says what it would cost and makes nothing.
$reelm generate --dry-run --json -p "a ball" && test ! -e out.mp4 -a ! -e out.mp4.rtok
