import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;
import org.elasticsearch.xpack.core.XPackPlugin;

/** Runs one Elasticsearch on this machine: RunNode HOME PORT. */
public class RunNode {
  static class Single extends Node {
    Single(Environment environment) {
      super(environment, List.of(Netty4Plugin.class, XPackPlugin.class), false);
    }
  }

  public static void main(String[] words) throws Exception {
    Settings settings =
        Settings.builder()
            .put("path.home", words[0])
            .put("cluster.name", "pillion-tests")
            .put("node.name", "store")
            .put("discovery.type", "single-node")
            .put("transport.host", "127.0.0.1")
            .put("transport.port", "0")
            .put("transport.type", "netty4")
            .put("http.host", "127.0.0.1")
            .put("http.port", words[1])
            .put("http.type", "netty4")
            // a test machine's disk is often nearly full
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
    Node node = new Single(new Environment(settings, Path.of(words[0], "config")));
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    node.close();
                  } catch (Exception error) {
                    System.err.println(error);
                  }
                  stopped.countDown();
                }));
    node.start();
    stopped.await();
  }
}
