# Serve the files that LOG_FILES means with nginx, by the program for its njs module that is the first argument.
# shellcheck shell=sh
work=/pillion/web
mkdir -p "$work/temporary"
printf '%s' "$1" >"$work/web.js"
# nginx as root gives its directories to nobody, which it may not without capabilities: it stays root, as the app is
user=
[ "$(id -u)" != 0 ] || user='user root root;'
cat >"$work/nginx.conf" <<END
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
worker_processes 1;
$user
pid $work/nginx.pid;
error_log stderr warn;
env LOG_FILES;
env LOG_MOUNTS;
events { worker_connections 256; }
http {
  access_log off;
  # nobody has anything to send
  client_max_body_size 1k;
  client_body_temp_path $work/temporary; proxy_temp_path $work/temporary; fastcgi_temp_path $work/temporary;
  uwsgi_temp_path $work/temporary; scgi_temp_path $work/temporary;
  js_import web from $work/web.js;
  js_var \$file;
  js_var \$volume;
  server {
    listen ${PORT:-8080};
    # a log file grows while it is read: what was there at the start of the answer is sent
    add_header Cache-Control no-store;
    add_header X-Content-Type-Options nosniff;
    location / { js_content web.serve; }
    # nobody can ask for this: nginx makes one slash of two
    location = //file {
      internal;
      alias \$file;
      disable_symlinks on from=\$volume;
    }
  }
}
END
exec nginx -e stderr -c "$work/nginx.conf" -g 'daemon off;'
