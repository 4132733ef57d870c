# exit: 2
# stderr: *c.ini:2: there is no option 'cfg-scal'; did you mean 'cfg-scale'?
# stderr: one line
printf 'width = 64\ncfg-scal = 3\n' >c.ini
$reelm generate --config-file c.ini --dry-run
