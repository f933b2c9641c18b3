import java.net.URL;

/** Fetches a URL as programs in Java do, by the proxy that the system properties name. */
public class Fetch {
    public static void main(String[] arguments) throws Exception {
        System.out.print(new String(new URL(arguments[0]).openStream().readAllBytes()));
    }
}
